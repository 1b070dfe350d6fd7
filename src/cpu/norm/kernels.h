// Inner loops of normalization, one table per instruction set. Batch-norm kernels see x as rows of `period` elements,
// a multiple of the channels that fills whole vectors unless that is too long; per-channel numbers are repeated to
// that length. Only the first `width` <= period columns count.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "cpu/simd/level.h"

namespace descent::cpu {

struct NormRows {
  std::int64_t rows, period, width;
};

template <class T>
struct ChannelScale {  // y = (x - mean) * scale + shift
  const T *mean, *scale, *shift;
};

template <class T>
struct ChannelGradient {  // dx = scale * dz - offset - slope * (x - mean)
  const T *mean, *scale, *offset, *slope;
};

template <class T>
struct BatchKernels {
  // out[j] = the sum over rows of x, or of (x - center[j])^2.
  void (*sums)(const NormRows& r, const T* x, T* out);
  void (*square_deviations)(const NormRows& r, const T* x, const T* center, T* out);
  void (*normalize)(const NormRows& r, const T* x, const ChannelScale<T>& p, bool relu, T* y);
  // With dz = dy where y > 0 (everywhere if y is null): sum[j] = sum of dz, product[j] = sum of dz * (x - mean[j]).
  void (*gradient_sums)(const NormRows& r, const T* x, const T* y, const T* dy, const T* mean, T* sum, T* product);
  void (*gradient)(const NormRows& r, const T* x, const T* y, const T* dy, const ChannelGradient<T>& g, T* dx,
                   bool accumulate);
};

struct PooledRow {  // two rows of an image, `stride` elements apart, pooled to one of `out_w` pixels
  std::int64_t out_w, w, c, stride;
};

template <class T>
struct PooledKernels {  // fused normalization, ReLU and 2x2 max pooling; code as in Conv::forward
  void (*normalize)(const PooledRow& r, const T* x, const ChannelScale<T>& p, T* y, std::uint8_t* code);
  // Adds the sums of dz and of dz * (x - mean) over the row to sum and product.
  void (*gradient_sums)(const PooledRow& r, const T* x, const T* dy, const std::uint8_t* code, const T* mean, T* sum,
                        T* product);
  void (*gradient)(const PooledRow& r, const T* x, const T* dy, const std::uint8_t* code, const ChannelGradient<T>& g,
                   T* dx, bool accumulate);
  // The same for pixels outside all windows: dz is 0.
  void (*rest)(std::int64_t pixels, std::int64_t c, const T* x, const ChannelGradient<T>& g, T* dx, bool accumulate);
};

template <class T>
struct LayerKernels {  // one row of n elements; gamma and beta may be null
  void (*forward)(std::int64_t n, const T* x, const T* gamma, const T* beta, double eps, T* y, T* mean, T* inv_std);
  void (*backward)(std::int64_t n, const T* x, const T* dy, const T* gamma, T mean, T inv_std, T* dx, bool accumulate);
  // Over rows: sum[j] = sum of dy, product[j] = sum of dy * (x - mean[row]) * inv_std[row].
  void (*parameter_sums)(std::int64_t rows, std::int64_t n, const T* x, const T* dy, const T* mean, const T* inv_std,
                         T* sum, T* product);
};

DESCENT_SIMD_TABLE(BatchKernels<float>, norm_batch_f32)
DESCENT_SIMD_TABLE(BatchKernels<double>, norm_batch_f64)
DESCENT_SIMD_TABLE(PooledKernels<float>, norm_pool_f32)
DESCENT_SIMD_TABLE(PooledKernels<double>, norm_pool_f64)
DESCENT_SIMD_TABLE(LayerKernels<float>, norm_layer_f32)
DESCENT_SIMD_TABLE(LayerKernels<double>, norm_layer_f64)

}  // namespace descent::cpu
