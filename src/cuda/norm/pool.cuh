// Batch normalization, ReLU and 2x2 max-pooling in one pass over the image, and the backward. The arithmetic, and so
// the bits, are those of the separate primitives in sequence. Odd edges are in no window.
#pragma once

#include "cuda/norm/batch.cuh"
#include "cuda/norm/gradient.cuh"

namespace descent::gpu {

struct PooledShape {  // x [n, h, w, c] -> y [n, out_h, out_w, c]
  std::int64_t n, h, w, c, out_h, out_w;
};

// A window's position, from its row-major number over images of `down` x `across` windows.
struct PooledWindow {
  std::int64_t image, row, column;

  __device__ PooledWindow(std::int64_t window, std::int64_t down, std::int64_t across) {
    column = window % across;
    const std::int64_t line = window / across;
    row = line % down;
    image = line / down;
  }
};

// Offset in x of channel 0 of a window's pixel k (row-major).
__device__ inline std::int64_t pooled_pixel(const PooledShape& s, const PooledWindow& at, int k) {
  return ((at.image * s.h + 2 * at.row + k / 2) * s.w + 2 * at.column + k % 2) * s.c;
}

// A thread takes W::kN channels and every row_lanes-th window of a chunk of windows. Reads the windows' pixels once,
// writes y and code once; arithmetic in Wide<T>.
template <class T, class W>
__global__ void batch_pool_kernel(NormColumns c, PooledShape s, const T* x, ChannelScale<Wide<T>> scale, T* y,
                                  std::uint8_t* code) {
  using V = Wide<T>;
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    if (p.count == 0) continue;
    const std::int64_t channel = p.group * W::kN;
    const ChannelNormalizer<V, W> normalizer(scale, channel, true);
    for (std::int64_t window = p.row; window < p.end; window += c.row_lanes) {
      const PooledWindow at(window, s.out_h, s.out_w);
      Pack<V, W::kN> pixels[4];
      for (int k = 0; k < 4; ++k) pixels[k] = load_group<T, W>(x + pooled_pixel(s, at, k) + channel);
      Pack<V, W::kN> best = normalizer.apply(pixels[0]);
      Pack<std::uint8_t, W::kN> winner{};
      for (int k = 1; k < 4; ++k) {
        const Pack<V, W::kN> value = normalizer.apply(pixels[k]);
        for (int v = 0; v < W::kN; ++v) {
          if (value.v[v] <= best.v[v] || isnan(best.v[v])) continue;  // greater, or the first NaN
          best.v[v] = value.v[v];
          winner.v[v] = static_cast<std::uint8_t>(k);
        }
      }
      for (int v = 0; v < W::kN; ++v) winner.v[v] = best.v[v] <= V(0) ? std::uint8_t{4} : winner.v[v];
      store_group<T, W>(y + window * s.c + channel, best);
      store_group<std::uint8_t, W>(code + window * s.c + channel, winner);
    }
  }
}

// Terms of gradient_sums_kernel: row `window` holds the window's dy, and x at its maximum.
template <class T, class W>
struct PooledTerms {
  static constexpr int kInFlight = 2;  // of six loads each
  PooledShape s;
  const T *x, *dy;
  const std::uint8_t* code;
  using V = Wide<T>;
  struct Item {
    Pack<V, W::kN> x, dz;
  };

  // Reads all four pixels: the maxima of adjacent channels may be at different ones.
  __device__ Item load(std::int64_t window, std::int64_t channel) const {
    const PooledWindow at(window, s.out_h, s.out_w);
    const Pack<std::uint8_t, W::kN> winner = load_group<std::uint8_t, W>(code + window * s.c + channel);
    Item item{load_group<T, W>(x + pooled_pixel(s, at, 0) + channel), load_group<T, W>(dy + window * s.c + channel)};
    for (int k = 1; k < 4; ++k) {
      const Pack<V, W::kN> pixel = load_group<T, W>(x + pooled_pixel(s, at, k) + channel);
      for (int v = 0; v < W::kN; ++v) item.x.v[v] = winner.v[v] == k ? pixel.v[v] : item.x.v[v];
    }
    for (int v = 0; v < W::kN; ++v) item.dz.v[v] = winner.v[v] < 4 ? item.dz.v[v] : V(0);
    return item;
  }
  __device__ V deviation(const Item& item, int v, V mean) const { return item.x.v[v] - mean; }
};

// Work is split as in batch_pool_kernel, but over windows that also cover the odd edges, which have no dy. Reads x, dy
// and code once and writes dx once; arithmetic in Wide<T>.
template <class T, class W>
__global__ void batch_pool_gradient_kernel(NormColumns c, PooledShape s, const T* x, const T* dy,
                                           const std::uint8_t* code, ChannelGradient<Wide<T>> g, GradientInto<T> dx) {
  using V = Wide<T>;
  const std::int64_t down = (s.h + 1) / 2, across = (s.w + 1) / 2;
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    if (p.count == 0) continue;
    const std::int64_t channel = p.group * W::kN;
    const GradientWriter<V, W> writer(g, channel);
    for (std::int64_t window = p.row; window < p.end; window += c.row_lanes) {
      const PooledWindow at(window, down, across);
      Pack<V, W::kN> top{};
      Pack<std::uint8_t, W::kN> winner{};
      if (at.row < s.out_h && at.column < s.out_w) {
        const std::int64_t pooled = ((at.image * s.out_h + at.row) * s.out_w + at.column) * s.c + channel;
        top = load_group<T, W>(dy + pooled);
        winner = load_group<std::uint8_t, W>(code + pooled);
      }
      for (int k = 0; k < 4; ++k) {
        if (2 * at.row + k / 2 >= s.h || 2 * at.column + k % 2 >= s.w) continue;
        const std::int64_t pixel = pooled_pixel(s, at, k) + channel;
        const Pack<V, W::kN> value = load_group<T, W>(x + pixel);
        Pack<V, W::kN> out{};
        if (dx.accumulate) out = load_group<T, W>(dx.data + pixel);
        for (int v = 0; v < W::kN; ++v) {
          const V gradient = writer.gradient(v, winner.v[v] == k ? top.v[v] : V(0), value.v[v]);
          out.v[v] = dx.accumulate ? out.v[v] + gradient : gradient;
        }
        store_group<T, W>(dx.data + pixel, out);
      }
    }
  }
}

template <class T>
void batch_train_relu_pool(Stream& stream, const PooledShape& s, const BatchParameters<Wide<T>>& p, const T* x, T* y,
                           std::uint8_t* code, Wide<T>* mean, Wide<T>* inv_std) {
  using V = Wide<T>;
  if (s.c == 0) return;
  const Scratch<V> scale(stream, s.c), shift(stream, s.c);
  batch_statistics(stream, s.n * s.h * s.w, s.c, p, x, mean, inv_std, scale.data(), shift.data());
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(s.n * s.out_h * s.out_w, s.c / W::kN);
    const ChannelScale<V> channel_scale{mean, scale.data(), shift.data()};
    launch_columns(stream, "batch_pool", batch_pool_kernel<T, W>, c, 0, s, x, channel_scale, y, code);
  };
  with_norm_width<T>(s.c, run, x, static_cast<const T*>(y), static_cast<const std::uint8_t*>(code),
                     static_cast<const V*>(mean));
}

template <class T>
void batch_backward_relu_pool(Stream& stream, const PooledShape& s, const T* x, const T* dy, const std::uint8_t* code,
                              const BatchSaved<Wide<T>>& saved, const GradientInto<T>& dx,
                              const GradientInto<Wide<T>>& dgamma, const GradientInto<Wide<T>>& dbeta) {
  using V = Wide<T>;
  const bool to_x = dx.data != nullptr;
  if (s.c == 0 || (!to_x && dgamma.data == nullptr && dbeta.data == nullptr)) return;
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(s.n * s.out_h * s.out_w, s.c / W::kN);
    const Scratch<double> parts(stream, 2 * s.c * c.chunks);
    const Scratch<V> coefficients(stream, 3 * s.c);
    V* const scale = coefficients.data();
    const ChannelGradientOut<V> out{to_x ? scale : nullptr, scale + s.c, to_x ? scale + 2 * s.c : nullptr};
    gradient_sums<V, W>(stream, "batch_pool_gradient_sums", c, PooledTerms<T, W>{s, x, dy, code}, saved.mean,
                        parts.data());
    batch_gradient_finish<V>(stream, s.c, c.chunks, parts.data(), s.n * s.h * s.w, saved, dgamma, dbeta, out);
    if (!to_x) return;
    const NormColumns all = norm_columns(s.n * ((s.h + 1) / 2) * ((s.w + 1) / 2), s.c / W::kN);
    const ChannelGradient<V> g{saved.mean, out.scale, out.offset, out.slope};
    launch_columns(stream, "batch_pool_gradient", batch_pool_gradient_kernel<T, W>, all, 0, s, x, dy, code, g, dx);
  };
  with_norm_width<T>(s.c, run, x, dy, code, static_cast<const T*>(dx.data), saved.mean);
}

}  // namespace descent::gpu
