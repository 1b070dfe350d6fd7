// Positions of pooling windows on an image, for the kernels of max.cuh and average.cuh. Tensors are
// [n, rows, cols, channels]; a thread works on N adjacent channels of one pixel.
#pragma once

#include "backend/backend.h"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

struct PoolSize {
  std::int64_t n, h, w, c, out_h, out_w;
  Pool2dOptions g;
};

struct PoolSpan {
  std::int64_t begin, end;
};

// The pixels that window `out` covers along one axis, without padding.
__device__ inline PoolSpan window_span(std::int64_t out, std::int64_t size, std::int64_t kernel, std::int64_t stride,
                                       std::int64_t pad) {
  const std::int64_t begin = out * stride - pad, end = begin + kernel;
  return {begin > 0 ? begin : 0, end < size ? end : size};
}

// The windows that cover pixel `at` along one axis.
__device__ inline PoolSpan covering_span(std::int64_t at, std::int64_t outs, std::int64_t kernel, std::int64_t stride,
                                         std::int64_t pad) {
  const std::int64_t padded = at + pad, end = padded / stride + 1;
  return {padded < kernel ? 0 : (padded - kernel) / stride + 1, end < outs ? end : outs};
}

struct PoolPlace {
  std::int64_t image, row, col, channel;
};

// The position of pack i in a tensor of `rows` x `cols` pixels of `packs` packs each. The divisions are cheap: the
// compiler emits a fast path for operands that fit 32 bits.
template <int N>
__device__ PoolPlace pool_place(std::int64_t i, std::int64_t rows, std::int64_t cols, std::int64_t packs) {
  const std::int64_t pixel = i / packs, line = pixel / cols, image = line / rows;
  return {image, line - image * rows, pixel - line * cols, (i - pixel * packs) * N};
}

}  // namespace descent::gpu
