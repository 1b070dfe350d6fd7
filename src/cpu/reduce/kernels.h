// The vectorized inner loop of column sums, one table per instruction set. Each column is added from top to bottom in
// f64, as in the reference implementation: every level gives the same bits.
#pragma once

#include <cstdint>

#include "cpu/simd/level.h"

namespace descent::cpu {

struct ReduceKernels {
  // sums[j] += x[i * stride + j] for i < rows, j < width
  void (*add_columns)(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t width, double* sums);
};

DESCENT_SIMD_TABLE(ReduceKernels, reduce_kernels)

}  // namespace descent::cpu
