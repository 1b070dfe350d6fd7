// Average pooling. Sums are in Sum<Wide<T>>, in a fixed order.
#pragma once

#include "cuda/accumulate.cuh"
#include "cuda/pool/window.cuh"

namespace descent::gpu {

// Number of elements along one axis that the average of window `out` counts: its pixels and, with include_pad, the
// padding. No window reaches beyond the padding.
__device__ inline std::int64_t counted(std::int64_t out, std::int64_t size, std::int64_t kernel, std::int64_t stride,
                                       std::int64_t pad, bool include_pad) {
  if (include_pad) return kernel;
  const PoolSpan span = window_span(out, size, kernel, stride, pad);
  return span.end - span.begin;
}

__device__ inline std::int64_t average_divisor(const PoolSize& s, std::int64_t oh, std::int64_t ow) {
  const Pool2dOptions& g = s.g;
  return counted(oh, s.h, g.kernel_h, g.stride_h, g.padding_h, g.count_include_pad) *
         counted(ow, s.w, g.kernel_w, g.stride_w, g.padding_w, g.count_include_pad);
}

// A thread per pack of y: reads its window, writes y.
template <class T, int N>
__global__ void average_pool_kernel(PoolSize s, std::int64_t packs, const T* x, T* y) {
  const Pool2dOptions& g = s.g;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, s.out_h, s.out_w, s.c / N);
    const PoolSpan rows = window_span(at.row, s.h, g.kernel_h, g.stride_h, g.padding_h);
    const PoolSpan cols = window_span(at.col, s.w, g.kernel_w, g.stride_w, g.padding_w);
    const T* const image = x + at.image * s.h * s.w * s.c + at.channel;
    Sum<Wide<T>> sums[N];
    for (std::int64_t h = rows.begin; h < rows.end; ++h) {
      for (std::int64_t w = cols.begin; w < cols.end; ++w) {
        const Pack<Wide<T>, N> values = load_wide<T, N>(image + (h * s.w + w) * s.c);
        for (int k = 0; k < N; ++k) sums[k].add(values.v[k]);
      }
    }
    const Wide<T> divisor = static_cast<Wide<T>>(average_divisor(s, at.row, at.col));
    Pack<Wide<T>, N> out;
    for (int k = 0; k < N; ++k) out.v[k] = sums[k].rounded() / divisor;
    store_narrow<T, N>(y + i * N, out);
  }
}

// A thread per pack of dx: reads dy of the windows that contain it, in window order.
template <class T, int N>
__global__ void average_pool_backward_kernel(PoolSize s, std::int64_t packs, const T* dy, T* dx, bool accumulate) {
  const Pool2dOptions& g = s.g;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, s.h, s.w, s.c / N);
    const PoolSpan rows = covering_span(at.row, s.out_h, g.kernel_h, g.stride_h, g.padding_h);
    const PoolSpan cols = covering_span(at.col, s.out_w, g.kernel_w, g.stride_w, g.padding_w);
    Sum<Wide<T>> sums[N];
    for (std::int64_t oh = rows.begin; oh < rows.end; ++oh) {
      for (std::int64_t ow = cols.begin; ow < cols.end; ++ow) {
        const Wide<T> divisor = static_cast<Wide<T>>(average_divisor(s, oh, ow));
        const Pack<Wide<T>, N> gradient =
            load_wide<T, N>(dy + ((at.image * s.out_h + oh) * s.out_w + ow) * s.c + at.channel);
        for (int k = 0; k < N; ++k) sums[k].add(gradient.v[k] / divisor);
      }
    }
    Pack<Wide<T>, N> out = accumulate ? load_wide<T, N>(dx + i * N) : Pack<Wide<T>, N>{};
    for (int k = 0; k < N; ++k) out.v[k] += sums[k].rounded();
    store_narrow<T, N>(dx + i * N, out);
  }
}

template <class T, int N>
void average_pool_packs(Stream& stream, const PoolSize& s, const T* x, T* y) {
  const std::int64_t packs = s.n * s.out_h * s.out_w * (s.c / N);
  launch(stream, "average_pool", average_pool_kernel<T, N>, dim3(blocks_for(stream, packs)), dim3(kThreads), 0, s,
         packs, x, y);
}

template <class T, int N>
void average_pool_backward_packs(Stream& stream, const PoolSize& s, const T* dy, T* dx, Write write) {
  const std::int64_t packs = s.n * s.h * s.w * (s.c / N);
  launch(stream, "average_pool_backward", average_pool_backward_kernel<T, N>, dim3(blocks_for(stream, packs)),
         dim3(kThreads), 0, s, packs, dy, dx, write == Write::accumulate);
}

template <class T>
void average_pool(Stream& stream, const PoolSize& s, const T* x, T* y) {
  if (s.c % kPack<T> == 0 && aligned16(x, y)) return average_pool_packs<T, kPack<T>>(stream, s, x, y);
  average_pool_packs<T, 1>(stream, s, x, y);
}

template <class T>
void average_pool_backward(Stream& stream, const PoolSize& s, const T* dy, T* dx, Write write) {
  if (s.c % kPack<T> == 0 && aligned16(dy, dx)) {
    return average_pool_backward_packs<T, kPack<T>>(stream, s, dy, dx, write);
  }
  average_pool_backward_packs<T, 1>(stream, s, dy, dx, write);
}

}  // namespace descent::gpu
