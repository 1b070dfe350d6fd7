// The vectorized inner loops of the random op group, one table per instruction set. They are exact: every
// level gives the same bits.
#pragma once

#include <cstdint>

#include "cpu/simd/level.h"

namespace descent::cpu {

struct PhiloxCall {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  std::uint32_t call = 0;
};

struct RandomKernels {
  // The four words of each of `blocks` consecutive Philox blocks, starting with block number `first`.
  void (*words)(const PhiloxCall& call, std::uint64_t first, std::int64_t blocks, std::uint32_t* out);
  // y[i] = word[i] >> 8 >= threshold ? x[i] * scale : 0; y may be x.
  void (*dropout_f32)(const std::uint32_t* word, std::uint32_t threshold, float scale, const float* x, float* y,
                      std::int64_t n);
  void (*dropout_f64)(const std::uint32_t* word, std::uint32_t threshold, double scale, const double* x, double* y,
                      std::int64_t n);
};

DESCENT_SIMD_TABLE(RandomKernels, random_kernels)

}  // namespace descent::cpu
