// Batch normalization, fast path. Training reads x twice and writes y once; backward reads x and dy
// twice and writes dx once.
#include <cmath>

#include "cpu/norm/internal.h"
#include "cpu/norm/plan.h"

namespace descent::cpu {
namespace {

template <class T>
double value_or(ConstView v, std::int64_t c, double otherwise) {
  return v ? static_cast<double>(v.as<T>()[c]) : otherwise;
}

template <class T>
struct Coefficients {  // per-channel numbers, repeated over a period
  Coefficients(const BatchPlan<T>& plan, int arrays) : plan_(plan), memory_(arrays * plan.period) {}
  template <class F>
  const T* fill(int array, const F& value) {
    T* const to = memory_.data() + array * plan_.period;
    repeat(plan_, to, value);
    return to;
  }

 private:
  const BatchPlan<T>& plan_;
  Scratch<T> memory_;
};

template <class T>
void normalize(const BatchPlan<T>& plan, ConstView x, const ChannelScale<T>& p, Activation activation, View y) {
  parallel_for(plan.tasks, [&](std::int64_t task) {
    plan.for_blocks(task, [&](const NormRows& r, std::int64_t at) {
      batch_kernels<T>().normalize(r, x.as<T>() + at, p, activation == Activation::relu, y.as<T>() + at);
    });
  });
}

}  // namespace

template <class T>
void finish_statistics(const BatchNormState& s, std::int64_t rows, const double* mean, const double* squares,
                       View out_mean, View out_inv_std) {
  const double count = static_cast<double>(std::max<std::int64_t>(1, rows));
  const double unbiased = static_cast<double>(std::max<std::int64_t>(1, rows - 1));
  const auto update = [&](View running, std::int64_t c, double batch) {
    if (!running || rows == 0) return;
    T& value = running.as<T>()[c];
    value = static_cast<T>((1 - s.momentum) * static_cast<double>(value) + s.momentum * batch);
  };
  for (std::int64_t c = 0; c < out_mean.numel(); ++c) {
    out_mean.as<T>()[c] = static_cast<T>(mean[c]);
    out_inv_std.as<T>()[c] = static_cast<T>(1 / std::sqrt(squares[c] / count + s.eps));
    update(s.running_mean, c, mean[c]);
    update(s.running_var, c, squares[c] / unbiased);
  }
}

template <class T>
void write_parameter_gradients(const BatchGradientRequest& r, const double* sum, const double* product) {
  const auto write = [](Grad g, std::int64_t c, double value) {
    if (!g) return;
    T& to = g.view.as<T>()[c];
    to = static_cast<T>(g.write == Write::accumulate ? static_cast<double>(to) + value : value);
  };
  for (std::int64_t c = 0; c < r.mean.numel(); ++c) {
    write(r.dgamma, c, product[c] * static_cast<double>(r.inv_std.as<T>()[c]));
    write(r.dbeta, c, sum[c]);
  }
}

template <class T>
void batch_train(const BatchNormState& s, ConstView x, Activation activation, View y, View mean, View inv_std) {
  const std::int64_t channels = mean.numel();
  const BatchPlan<T> plan(x.numel(), channels);
  const Scratch<double> moments(2 * channels);
  double* const squares = moments.data() + channels;
  batch_moments(plan, x.as<T>(), moments.data(), squares);
  finish_statistics<T>(s, x.numel() / channels, moments.data(), squares, mean, inv_std);
  Coefficients<T> k(plan, 3);
  const ChannelScale<T> p{
      k.fill(0, [&](std::int64_t c) { return moments[c]; }),
      k.fill(1, [&](std::int64_t c) { return static_cast<double>(inv_std.as<T>()[c]) * value_or<T>(s.gamma, c, 1); }),
      k.fill(2, [&](std::int64_t c) { return value_or<T>(s.beta, c, 0); })};
  normalize(plan, x, p, activation, y);
}

template <class T>
void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) {
  const BatchPlan<T> plan(x.numel(), s.running_mean.numel());
  Coefficients<T> k(plan, 3);
  const ChannelScale<T> p{k.fill(0, [&](std::int64_t c) { return s.running_mean.as<T>()[c]; }),
                          k.fill(1,
                                 [&](std::int64_t c) {
                                   const double variance = static_cast<double>(s.running_var.as<T>()[c]);
                                   return value_or<T>(s.gamma, c, 1) / std::sqrt(variance + s.eps);
                                 }),
                          k.fill(2, [&](std::int64_t c) { return value_or<T>(s.beta, c, 0); })};
  normalize(plan, x, p, activation, y);
}

template <class T>
void batch_backward(const BatchGradientRequest& r, Activation activation, ConstView x, ConstView y, ConstView dy) {
  const std::int64_t channels = r.mean.numel();
  const BatchPlan<T> plan(x.numel(), channels);
  const T* const mask = activation == Activation::relu ? y.as<T>() : nullptr;
  Coefficients<T> k(plan, 4);
  const T* const mean = k.fill(0, [&](std::int64_t c) { return r.mean.as<T>()[c]; });
  const Scratch<double> sums(2 * channels);
  double* const sum = sums.data();
  double* const product = sum + channels;
  if (r.training || r.dgamma || r.dbeta) {
    batch_gradient_sums(plan, x.as<T>(), mask, dy.as<T>(), mean, sum, product);
    write_parameter_gradients<T>(r, sum, product);
  }
  if (!r.dx) return;
  const std::int64_t rows = r.training ? x.numel() / channels : 0;
  const double count = static_cast<double>(rows);
  const auto inv_std = [&](std::int64_t c) { return static_cast<double>(r.inv_std.as<T>()[c]); };
  const auto scale = [&](std::int64_t c) { return inv_std(c) * value_or<T>(r.gamma, c, 1); };
  const ChannelGradient<T> g{
      mean, k.fill(1, scale), k.fill(2, [&](std::int64_t c) { return r.training ? scale(c) * sum[c] / count : 0; }),
      k.fill(3,
             [&](std::int64_t c) { return r.training ? scale(c) * product[c] * inv_std(c) * inv_std(c) / count : 0; })};
  parallel_for(plan.tasks, [&](std::int64_t task) {
    plan.for_blocks(task, [&](const NormRows& rows, std::int64_t at) {
      batch_kernels<T>().gradient(rows, x.as<T>() + at, mask != nullptr ? mask + at : nullptr, dy.as<T>() + at, g,
                                  r.dx.view.as<T>() + at, r.dx.write == Write::accumulate);
    });
  });
}

template void finish_statistics<float>(const BatchNormState&, std::int64_t, const double*, const double*, View, View);
template void finish_statistics<double>(const BatchNormState&, std::int64_t, const double*, const double*, View, View);
template void write_parameter_gradients<float>(const BatchGradientRequest&, const double*, const double*);
template void write_parameter_gradients<double>(const BatchGradientRequest&, const double*, const double*);
template void batch_train<float>(const BatchNormState&, ConstView, Activation, View, View, View);
template void batch_train<double>(const BatchNormState&, ConstView, Activation, View, View, View);
template void batch_eval<float>(const BatchNormState&, ConstView, Activation, View);
template void batch_eval<double>(const BatchNormState&, ConstView, Activation, View);
template void batch_backward<float>(const BatchGradientRequest&, Activation, ConstView, ConstView, ConstView);
template void batch_backward<double>(const BatchGradientRequest&, Activation, ConstView, ConstView, ConstView);

}  // namespace descent::cpu
