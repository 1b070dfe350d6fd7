// Build information, and the measured peak performance of this machine: the reference for benchmarks.
#pragma once

#include <string>

#include "descent/export.h"

namespace descent {

struct Peak {
  double gflops_f32 = 0;  // f32 multiply-adds in GFLOP/s, on num_threads() threads
  double copy_gb_s = 0;   // GB/s when copying a block larger than the caches, bytes read plus bytes written
};
DESCENT_API Peak measure_peak();  // of the CPU; takes about half a second

struct BuildInfo {
  std::string simd;  // the SIMD level in use: "base", "avx2" or "avx512"
};
DESCENT_API BuildInfo build_info();

}  // namespace descent
