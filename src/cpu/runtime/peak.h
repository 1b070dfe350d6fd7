// Measures the machine's peak arithmetic and copy rates, to which benchmarks are compared.
#pragma once

#include <cstdint>

#include "cpu/simd/level.h"

namespace descent::cpu {

struct PeakKernel {
  // Runs `rounds` rounds of independent f32 multiply-adds (fused if the level has FMA) in registers; returns the
  // number of floating-point operations.
  double (*multiply_add)(std::int64_t rounds);
};

DESCENT_SIMD_TABLE(PeakKernel, peak_kernel)

// GFLOP/s of f32 multiply-adds on all threads: the best of several runs of about 10 ms.
double fma_peak();
// GB/s of copying a block larger than the caches on all threads, reads plus writes: the best of several runs.
double copy_rate();

}  // namespace descent::cpu
