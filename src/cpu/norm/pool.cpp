// Fused batch normalization, ReLU and 2x2 max pooling, fast path. x is the large tensor: training reads it
// once for its moments and once to write the pooled y; backward reads it once for the sums at the pooled
// maxima and once to write dx.
#include <cmath>

#include "cpu/norm/internal.h"
#include "cpu/norm/plan.h"

namespace descent::cpu {
namespace {

template <class T>
const PooledKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return norm_pool_f32();
  } else {
    return norm_pool_f64();
  }
}

// Pairs of rows of x, each with one row of y, distributed in fixed groups.
struct PooledPlan {
  static constexpr std::int64_t kTaskElements = 1 << 16;  // of x
  static constexpr std::int64_t kBlockPixels = 256;       // of y, whose terms are summed in T

  std::int64_t images, out_h, h;
  PooledRow row;
  std::int64_t grain;

  PooledPlan(const Shape& x, const Shape& y) : images(x[0]), out_h(y[1]), h(x[1]), row{y[2], x[2], x[3], x[2] * x[3]} {
    grain = std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(1, 2 * row.stride));
  }
  std::int64_t pairs() const { return images * out_h; }
  std::int64_t tasks() const { return std::max<std::int64_t>(1, (pairs() + grain - 1) / grain); }
  std::int64_t x_at(std::int64_t pair) const { return (pair / out_h * h + pair % out_h * 2) * row.stride; }
  std::int64_t y_at(std::int64_t pair) const { return pair * row.out_w * row.c; }
};

template <class T>
void pooled_sums(const PooledPlan& plan, ConstView x, ConstView dy, ConstView code, const T* mean, double* sum,
                 double* product) {
  const std::int64_t channels = plan.row.c, tasks = plan.tasks();
  const Scratch<double> parts(tasks * 2 * channels);
  const std::int64_t block =
      std::max<std::int64_t>(1, PooledPlan::kBlockPixels / std::max<std::int64_t>(1, plan.row.out_w));
  parallel_for(tasks, [&](std::int64_t task) {
    const Scratch<T> work(2 * channels);
    double* const part = parts.data() + task * 2 * channels;
    std::fill(part, part + 2 * channels, 0.0);
    const std::int64_t end = std::min(plan.pairs(), (task + 1) * plan.grain);
    for (std::int64_t first = task * plan.grain; first < end; first += block) {
      std::fill(work.data(), work.data() + 2 * channels, T{0});
      for (std::int64_t pair = first; pair < std::min(end, first + block); ++pair) {
        const std::int64_t out = plan.y_at(pair);
        kernels<T>().gradient_sums(plan.row, x.as<T>() + plan.x_at(pair), dy.as<T>() + out,
                                   code.as<std::uint8_t>() + out, mean, work.data(), work.data() + channels);
      }
      for (std::int64_t c = 0; c < 2 * channels; ++c) part[c] += static_cast<double>(work[c]);
    }
  });
  add_parts(parts.data(), tasks, 2 * channels, channels, sum);
  add_parts(parts.data() + channels, tasks, 2 * channels, channels, product);
}

}  // namespace

template <class T>
void batch_train_pooled(const BatchNormState& s, ConstView x, View y, View code, View mean, View inv_std) {
  const std::int64_t channels = mean.numel();
  const BatchPlan<T> flat(x.numel(), channels);
  const Scratch<double> moments(2 * channels);
  batch_moments(flat, x.as<T>(), moments.data(), moments.data() + channels);
  finish_statistics<T>(s, x.numel() / channels, moments.data(), moments.data() + channels, mean, inv_std);
  const Scratch<T> coefficients(3 * channels);
  T* const k = coefficients.data();
  for (std::int64_t c = 0; c < channels; ++c) {
    const double gamma = s.gamma ? static_cast<double>(s.gamma.as<T>()[c]) : 1;
    k[c] = static_cast<T>(moments[c]);
    k[channels + c] = static_cast<T>(static_cast<double>(inv_std.as<T>()[c]) * gamma);
    k[2 * channels + c] = s.beta ? s.beta.as<T>()[c] : T{0};
  }
  const ChannelScale<T> p{k, k + channels, k + 2 * channels};
  const PooledPlan plan(x.shape, y.shape);
  parallel_pieces(plan.pairs(), plan.grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t pair = begin; pair < end; ++pair) {
      const std::int64_t out = plan.y_at(pair);
      kernels<T>().normalize(plan.row, x.as<T>() + plan.x_at(pair), p, y.as<T>() + out, code.as<std::uint8_t>() + out);
    }
  });
}

template <class T>
void batch_backward_pooled(const BatchGradientRequest& r, ConstView x, ConstView dy, ConstView code) {
  const std::int64_t channels = r.mean.numel();
  const PooledPlan plan(x.shape, dy.shape);
  const Scratch<double> sums(2 * channels);
  double* const sum = sums.data();
  double* const product = sum + channels;
  pooled_sums<T>(plan, x, dy, code, r.mean.as<T>(), sum, product);
  write_parameter_gradients<T>(r, sum, product);
  if (!r.dx) return;
  const Scratch<T> coefficients(3 * channels);
  T* const k = coefficients.data();
  const std::int64_t rows = x.numel() / channels;
  const double count = static_cast<double>(rows);
  for (std::int64_t c = 0; c < channels; ++c) {
    const double inv_std = static_cast<double>(r.inv_std.as<T>()[c]);
    const double scale = inv_std * (r.gamma ? static_cast<double>(r.gamma.as<T>()[c]) : 1);
    k[c] = static_cast<T>(scale);
    k[channels + c] = static_cast<T>(scale * sum[c] / count);
    k[2 * channels + c] = static_cast<T>(scale * product[c] * inv_std * inv_std / count);
  }
  const ChannelGradient<T> g{r.mean.as<T>(), k, k + channels, k + 2 * channels};
  const bool accumulate = r.dx.write == Write::accumulate;
  T* const dx = r.dx.view.as<T>();
  parallel_pieces(plan.pairs(), plan.grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t pair = begin; pair < end; ++pair) {
      const std::int64_t in = plan.x_at(pair), out = plan.y_at(pair);
      kernels<T>().gradient(plan.row, x.as<T>() + in, dy.as<T>() + out, code.as<std::uint8_t>() + out, g, dx + in,
                            accumulate);
    }
  });
  const std::int64_t below = plan.h - 2 * plan.out_h;  // rows of an image that no window covers
  if (below == 0) return;
  parallel_for(plan.images, [&](std::int64_t image) {
    const std::int64_t at = (image * plan.h + 2 * plan.out_h) * plan.row.stride;
    kernels<T>().rest(below * plan.row.w, channels, x.as<T>() + at, g, dx + at, accumulate);
  });
}

template void batch_train_pooled<float>(const BatchNormState&, ConstView, View, View, View, View);
template void batch_train_pooled<double>(const BatchNormState&, ConstView, View, View, View, View);
template void batch_backward_pooled<float>(const BatchGradientRequest&, ConstView, ConstView, ConstView);
template void batch_backward_pooled<double>(const BatchGradientRequest&, ConstView, ConstView, ConstView);

}  // namespace descent::cpu
