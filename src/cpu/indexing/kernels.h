// The vectorized inner loops of the index op group, one table per instruction set. Each operation is rounded once, in
// the order written: every level gives the same bits.
#pragma once

#include <cstdint>

#include "cpu/simd/level.h"

namespace descent::cpu {

struct IndexKernels {
  // y[i] = (x[i] - shift) * scale
  void (*normalize)(const std::uint8_t* x, float shift, float scale, float* y, std::int64_t n);
  // y[i] = (x[i] - shift[i]) * scale[i]
  void (*normalize_each)(const std::uint8_t* x, const float* shift, const float* scale, float* y, std::int64_t n);
};

DESCENT_SIMD_TABLE(IndexKernels, index_kernels)

}  // namespace descent::cpu
