// The vectorized inner loops of the index family, one table per instruction set. Each result is rounded once per
// operation, in the order that is written: every level gives the same bits.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace descent::cpu {

struct IndexKernels {
  // y[i] = (x[i] - shift) * scale
  void (*normalize)(const std::uint8_t* x, float shift, float scale, float* y, std::int64_t n);
  // y[i] = (x[i] - shift[i]) * scale[i]
  void (*normalize_each)(const std::uint8_t* x, const float* shift, const float* scale, float* y, std::int64_t n);
};

DESCENT_SIMD_TABLE(IndexKernels, index_kernels)

}  // namespace descent::cpu
