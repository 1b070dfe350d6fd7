// Converts bytes to normalized floats, in loops that the compiler vectorizes: 1 byte read and 4 written per element.
// No addition follows a multiplication here, so nothing can be contracted to an FMA.
#include "cpu/indexing/kernels.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

void normalize(const std::uint8_t* __restrict x, float shift, float scale, float* __restrict y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = (static_cast<float>(x[i]) - shift) * scale;
}

void normalize_each(const std::uint8_t* __restrict x, const float* __restrict shift, const float* __restrict scale,
                    float* __restrict y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = (static_cast<float>(x[i]) - shift[i]) * scale[i];
}

}  // namespace

extern const IndexKernels index_kernels;
const IndexKernels index_kernels{normalize, normalize_each};

}  // namespace descent::cpu::DESCENT_SIMD
