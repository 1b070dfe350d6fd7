// What this machine can do at best, measured: the yardstick of benchmarks.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace descent::cpu {

struct PeakKernel {
  // `rounds` of independent fused multiply-adds of f32 in registers; returns the floating-point operations that it did.
  double (*multiply_add)(std::int64_t rounds);
};

DESCENT_SIMD_TABLE(PeakKernel, peak_kernel)

// GFLOP/s of multiply-adds of f32 on all threads; the best of several runs, about 0.2 s in all.
double fma_peak();
// GB/s of copying a block larger than the caches, bytes read plus bytes written, on all threads; the best of several
// runs.
double copy_rate();

}  // namespace descent::cpu
