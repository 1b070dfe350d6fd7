// Reference implementation of normalization: loops in f64, channel by channel and row by row.
#include <cmath>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/norm/internal.h"

namespace descent::cpu {
namespace {

using Values = std::vector<double>;

double at(ConstView v, std::int64_t i) {
  return v.dtype == DType::f64 ? v.as<double>()[i] : static_cast<double>(v.as<float>()[i]);
}
double at(ConstView v, std::int64_t i, double otherwise) { return v ? at(v, i) : otherwise; }

void put(View v, std::int64_t i, double value) {
  if (v.dtype == DType::f64) {
    v.as<double>()[i] = value;
  } else {
    v.as<float>()[i] = static_cast<float>(value);
  }
}

void put(Grad g, std::int64_t i, double value) {
  if (g) put(g.view, i, g.write == Write::accumulate ? at(g.view, i) + value : value);
}

double rectified(double v) { return v < 0 ? 0 : v; }

struct Moments {
  double mean, variance;
};

// The moments of x[first], x[first + step], ...
Moments moments(ConstView x, std::int64_t first, std::int64_t step, std::int64_t n) {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += at(x, first + i * step);
  const double mean = n > 0 ? sum / static_cast<double>(n) : 0;
  for (std::int64_t i = 0; i < n; ++i) squares += (at(x, first + i * step) - mean) * (at(x, first + i * step) - mean);
  return {mean, n > 0 ? squares / static_cast<double>(n) : 0};
}

void statistics(const BatchNormState& s, ConstView x, View mean, View inv_std) {
  const std::int64_t channels = mean.numel(), rows = channels > 0 ? x.numel() / channels : 0;
  for (std::int64_t c = 0; c < channels; ++c) {
    const Moments m = moments(x, c, channels, rows);
    put(mean, c, m.mean);
    put(inv_std, c, 1 / std::sqrt(m.variance + s.eps));
    if (rows == 0) continue;
    const double n = static_cast<double>(rows), unbiased = rows > 1 ? m.variance * n / (n - 1) : m.variance;
    if (s.running_mean) put(s.running_mean, c, (1 - s.momentum) * at(s.running_mean, c) + s.momentum * m.mean);
    if (s.running_var) put(s.running_var, c, (1 - s.momentum) * at(s.running_var, c) + s.momentum * unbiased);
  }
}

// Calls f(x index of the window's first pixel, y index, channel) for 2x2 windows of [N, H, W, C].
template <class F>
void for_windows(const Shape& x, const Shape& y, const F& f) {
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t h = 0; h < y[1]; ++h) {
      for (std::int64_t w = 0; w < y[2]; ++w) {
        for (std::int64_t c = 0; c < y[3]; ++c) f(((n * x[1] + 2 * h) * x[2] + 2 * w) * x[3] + c, out++, c);
      }
    }
  }
}

std::int64_t place(const Shape& x, std::int64_t code) { return (code / 2 * x[2] + code % 2) * x[3]; }

class ReferenceNorm final : public Norm {
 public:
  void batch_train(const BatchNormState& s, ConstView x, const Epilogue& epilogue, View y, View mean, View inv_std,
                   View aux) override {
    statistics(s, x, mean, inv_std);
    if (epilogue.max_pool) return normalize_and_pool(s, x, mean, inv_std, y, aux);
    normalize(s, x, mean, inv_std, epilogue.activation, y);
  }

  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    const std::int64_t channels = s.running_mean.numel();
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const std::int64_t c = i % channels;
      const double v = (at(x, i) - at(s.running_mean, c)) / std::sqrt(at(s.running_var, c) + s.eps);
      const double out = v * at(s.gamma, c, 1) + at(s.beta, c, 0);
      put(y, i, activation == Activation::relu ? rectified(out) : out);
    }
  }

  void batch_backward(bool training, const Epilogue& epilogue, ConstView x, ConstView saved, ConstView dy,
                      ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    Values dz(static_cast<std::size_t>(x.numel()));
    if (epilogue.max_pool) {
      for_windows(x.shape, dy.shape, [&](std::int64_t in, std::int64_t out, std::int64_t) {
        const std::int64_t winner = saved.as<std::uint8_t>()[out];
        if (winner < 4) dz[static_cast<std::size_t>(in + place(x.shape, winner))] = at(dy, out);
      });
    } else {
      for (std::int64_t i = 0; i < x.numel(); ++i) {
        const bool stopped = epilogue.activation == Activation::relu && at(saved, i) <= 0;
        dz[static_cast<std::size_t>(i)] = stopped ? 0 : at(dy, i);
      }
    }
    backward(training, x, dz, gamma, mean, inv_std, dx, dgamma, dbeta);
  }

  void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) override {
    const std::int64_t rows = mean.numel(), n = rows > 0 ? x.numel() / rows : 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const Moments m = moments(x, r * n, 1, n);
      put(mean, r, m.mean);
      put(inv_std, r, 1 / std::sqrt(m.variance + eps));
      for (std::int64_t i = 0; i < n; ++i) {
        const double v = (at(x, r * n + i) - m.mean) / std::sqrt(m.variance + eps);
        put(y, r * n + i, v * at(gamma, i, 1) + at(beta, i, 0));
      }
    }
  }

  void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                      Grad dgamma, Grad dbeta) override {
    const std::int64_t rows = mean.numel(), n = rows > 0 ? x.numel() / rows
                                                : dgamma ? dgamma.view.numel()
                                                         : dbeta.view.numel();
    const double count = static_cast<double>(n);
    Values gamma_sum(static_cast<std::size_t>(n)), beta_sum(static_cast<std::size_t>(n));
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto normal = [&](std::int64_t i) { return (at(x, r * n + i) - at(mean, r)) * at(inv_std, r); };
      const auto dz = [&](std::int64_t i) { return at(dy, r * n + i) * at(gamma, i, 1); };
      double sum = 0, product = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        sum += dz(i);
        product += dz(i) * normal(i);
        gamma_sum[static_cast<std::size_t>(i)] += at(dy, r * n + i) * normal(i);
        beta_sum[static_cast<std::size_t>(i)] += at(dy, r * n + i);
      }
      for (std::int64_t i = 0; i < n; ++i)
        put(dx, r * n + i, at(inv_std, r) * (dz(i) - sum / count - normal(i) * product / count));
    }
    for (std::int64_t i = 0; i < n; ++i) {
      put(dgamma, i, gamma_sum[static_cast<std::size_t>(i)]);
      put(dbeta, i, beta_sum[static_cast<std::size_t>(i)]);
    }
  }

 private:
  static void normalize_and_pool(const BatchNormState& s, ConstView x, View mean, View inv_std, View y, View aux) {
    Values memory(static_cast<std::size_t>(x.numel()));
    const View full{memory.data(), x.shape, DType::f64};
    normalize(s, x, mean, inv_std, Activation::relu, full);
    for_windows(x.shape, y.shape, [&](std::int64_t in, std::int64_t out, std::int64_t) {
      std::int64_t winner = 0;
      for (std::int64_t k = 1; k < 4; ++k) {
        const double best = at(full, in + place(x.shape, winner)), v = at(full, in + place(x.shape, k));
        if (!std::isnan(best) && !(v <= best)) winner = k;
      }
      const double best = at(full, in + place(x.shape, winner));
      put(y, out, best);
      aux.as<std::uint8_t>()[out] = static_cast<std::uint8_t>(best <= 0 ? 4 : winner);
    });
  }

  static void normalize(const BatchNormState& s, ConstView x, ConstView mean, ConstView inv_std, Activation activation,
                        View y) {
    const std::int64_t channels = mean.numel();
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const std::int64_t c = i % channels;
      const double v = (at(x, i) - at(mean, c)) * at(inv_std, c) * at(s.gamma, c, 1) + at(s.beta, c, 0);
      put(y, i, activation == Activation::relu ? rectified(v) : v);
    }
  }

  static void backward(bool training, ConstView x, const Values& dz, ConstView gamma, ConstView mean, ConstView inv_std,
                       Grad dx, Grad dgamma, Grad dbeta) {
    const std::int64_t channels = mean.numel(), rows = channels > 0 ? x.numel() / channels : 0;
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto normal = [&](std::int64_t r) { return (at(x, r * channels + c) - at(mean, c)) * at(inv_std, c); };
      const auto own = [&](std::int64_t r) { return dz[static_cast<std::size_t>(r * channels + c)]; };
      double sum = 0, product = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        sum += own(r);
        product += own(r) * normal(r);
      }
      put(dgamma, c, product);
      put(dbeta, c, sum);
      const double count = static_cast<double>(rows), scale = at(gamma, c, 1) * at(inv_std, c);
      for (std::int64_t r = 0; r < rows; ++r) {
        const double common = training ? sum / count + normal(r) * product / count : 0;
        put(dx, r * channels + c, scale * (own(r) - common));
      }
    }
  }
};

}  // namespace

Norm* norm_reference() {
  static ReferenceNorm* const reference = new ReferenceNorm;
  return reference;
}

}  // namespace descent::cpu
