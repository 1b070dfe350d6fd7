// Batch normalization forward: statistics of the batch (moments.cuh) or the running ones, then one pass over x.
#pragma once

#include "backend/backend.h"
#include "cuda/norm/moments.cuh"

namespace descent::gpu {

// Converts the running statistics to scale and shift. A thread per channel.
template <class T>
__global__ void batch_scale_kernel(std::int64_t channels, BatchParameters<T> p, T* scale, T* shift) {
  for (std::int64_t c = grid_thread(); c < channels; c += grid_threads()) {
    const double gamma = p.gamma != nullptr ? static_cast<double>(p.gamma[c]) : 1.0;
    scale[c] = static_cast<T>(gamma / sqrt(static_cast<double>(p.running_var[c]) + p.eps));
    shift[c] = p.beta != nullptr ? p.beta[c] : T(0);
  }
}

template <class T, class W>
struct ChannelNormalizer {  // parameters of one thread's channels
  Pack<T, W::kN> mean, scale, shift;
  T least;  // lower bound: 0 for ReLU, else -infinity

  __device__ ChannelNormalizer(const ChannelScale<T>& s, std::int64_t channel, bool relu)
      : mean(channel_values<T, W>(s.mean, channel, T(0))),
        scale(channel_values<T, W>(s.scale, channel, T(1))),
        shift(channel_values<T, W>(s.shift, channel, T(0))),
        least(relu ? T(0) : -static_cast<T>(INFINITY)) {}
  __device__ Pack<T, W::kN> apply(Pack<T, W::kN> x) const {
    for (int v = 0; v < W::kN; ++v) {
      const T value = (x.v[v] - mean.v[v]) * scale.v[v] + shift.v[v];
      x.v[v] = value < least ? least : value;  // NaN stays NaN
    }
    return x;
  }
};

template <class T, class W>
struct NormalizeBody {
  static constexpr int kInFlight = 4;
  using Item = Pack<Wide<T>, W::kN>;
  const T* x;
  T* y;
  std::int64_t groups, group;
  ChannelNormalizer<Wide<T>, W> normalizer;

  __device__ Item load(std::int64_t row) const { return load_group<T, W>(x + (row * groups + group) * W::kN); }
  __device__ void use(std::int64_t row, const Item& item) {
    store_nth_group<T, W>(y, row * groups + group, normalizer.apply(item));
  }
};

// Work is split as in batch_moments_kernel. Reads x and writes y once; arithmetic in Wide<T>.
template <class T, class W>
__global__ void batch_normalize_kernel(NormColumns c, const T* x, ChannelScale<Wide<T>> s, bool relu, T* y) {
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    if (p.count == 0) continue;
    NormalizeBody<T, W> body{x, y, c.groups, p.group, ChannelNormalizer<Wide<T>, W>(s, p.group * W::kN, relu)};
    walk_rows(c, p, body);
  }
}

template <class T>
void batch_normalize(Stream& stream, std::int64_t rows, std::int64_t channels, const T* x,
                     const ChannelScale<Wide<T>>& s, Activation activation, T* y) {
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(rows, channels / W::kN);
    launch_columns(stream, "batch_normalize", batch_normalize_kernel<T, W>, c, 0, x, s, activation == Activation::relu,
                   y);
  };
  with_norm_width<T>(channels, run, x, y, s.mean, s.scale, s.shift);
}

template <class T>
void batch_train(Stream& stream, std::int64_t rows, std::int64_t channels, const BatchParameters<Wide<T>>& p,
                 const T* x, Activation activation, T* y, Wide<T>* mean, Wide<T>* inv_std) {
  if (channels == 0) return;
  const Scratch<Wide<T>> scale(stream, channels), shift(stream, channels);
  batch_statistics(stream, rows, channels, p, x, mean, inv_std, scale.data(), shift.data());
  batch_normalize<T>(stream, rows, channels, x, {mean, scale.data(), shift.data()}, activation, y);
}

template <class T>
void batch_eval(Stream& stream, std::int64_t rows, std::int64_t channels, const BatchParameters<Wide<T>>& p, const T* x,
                Activation activation, T* y) {
  if (channels == 0 || rows == 0) return;
  const Scratch<Wide<T>> scale(stream, channels), shift(stream, channels);
  launch(stream, "batch_scale", batch_scale_kernel<Wide<T>>, dim3(blocks_for(stream, channels)), dim3(kThreads), 0,
         channels, p, scale.data(), shift.data());
  batch_normalize<T>(stream, rows, channels, x, {p.running_mean, scale.data(), shift.data()}, activation, y);
}

}  // namespace descent::gpu
