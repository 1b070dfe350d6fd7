// Pooling of one row of pixels, vectorized over channels, one table per instruction set. Gradients are gathered: each
// pixel of dx sums over the windows that contain it, so nothing is cleared first and rows are independent.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/backend.h"
#include "cpu/simd/level.h"

namespace descent::cpu {

struct PoolShape {
  std::int64_t h, w, c, out_h, out_w;
  Pool2dOptions g;

  [[gnu::always_inline]] bool narrow_code() const { return g.kernel_h * g.kernel_w <= 256; }  // u8, else i32
};

struct PoolRange {
  std::int64_t begin, end;
};
// The pixels that window `out` covers along one axis, without padding.
[[gnu::always_inline]] constexpr PoolRange window_pixels(std::int64_t out, std::int64_t size, std::int64_t kernel,
                                                         std::int64_t stride, std::int64_t pad) {
  const std::int64_t first = out * stride - pad;
  return {first < 0 ? 0 : first, first + kernel < size ? first + kernel : size};
}
// The windows that cover pixel `at` along one axis.
[[gnu::always_inline]] constexpr PoolRange pixel_windows(std::int64_t at, std::int64_t outs, std::int64_t kernel,
                                                         std::int64_t stride, std::int64_t pad) {
  const std::int64_t reach = at + pad - kernel;  // windows that begin here or earlier end before the pixel
  const std::int64_t last = (at + pad) / stride;
  return {reach < 0 ? 0 : reach / stride + 1, last + 1 < outs ? last + 1 : outs};
}
// The divisor of the sum of window (oh, ow).
[[gnu::always_inline]] constexpr std::int64_t average_divisor(const PoolShape& s, std::int64_t oh, std::int64_t ow) {
  const Pool2dOptions& g = s.g;
  if (!g.count_include_pad) {
    const PoolRange h = window_pixels(oh, s.h, g.kernel_h, g.stride_h, g.padding_h);
    const PoolRange w = window_pixels(ow, s.w, g.kernel_w, g.stride_w, g.padding_w);
    return (h.end - h.begin) * (w.end - w.begin);
  }
  // The padding counts, positions beyond it do not.
  const std::int64_t h = oh * g.stride_h - g.padding_h, w = ow * g.stride_w - g.padding_w;
  const std::int64_t high = h + g.kernel_h < s.h + g.padding_h ? g.kernel_h : s.h + g.padding_h - h;
  const std::int64_t wide = w + g.kernel_w < s.w + g.padding_w ? g.kernel_w : s.w + g.padding_w - w;
  return high * wide;
}

template <class T>
struct PoolKernels {  // image, dy and code point to their image, the others to their row
  void (*max_row)(const PoolShape& s, std::int64_t oh, const T* image, T* y, void* code);
  void (*max_backward_row)(const PoolShape& s, std::int64_t ih, const T* dy, const void* code, T* dx, bool accumulate);
  void (*average_row)(const PoolShape& s, std::int64_t oh, const T* image, T* y);
  void (*average_backward_row)(const PoolShape& s, std::int64_t ih, const T* dy, T* dx, bool accumulate);
  void (*mean_of_rows)(std::int64_t rows, std::int64_t c, const T* x, T* y);  // y[c] = mean over rows
  void (*spread_row)(std::int64_t rows, std::int64_t c, const T* dy, T* dx,
                     bool accumulate);  // dx[r][c] = dy[c] / rows
};

DESCENT_SIMD_TABLE(PoolKernels<float>, pool_f32)
DESCENT_SIMD_TABLE(PoolKernels<double>, pool_f64)

Pool* pool_reference();  // the reference implementation

}  // namespace descent::cpu
