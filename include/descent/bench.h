// What this build is and what this machine can do at best: the yardstick of benchmarks.
#pragma once

#include <string>

#include "descent/export.h"

namespace descent {

struct Peak {
  double gflops_f32 = 0;  // GFLOP/s of f32 multiply-adds, on num_threads() threads
  double copy_gb_s = 0;   // GB/s of copying a block larger than the caches, bytes read plus bytes written
};
DESCENT_API Peak measure_peak();  // of the CPU; takes about half a second

struct BuildInfo {
  std::string simd;  // the SIMD level that runs: "base", "avx2" or "avx512"
};
DESCENT_API BuildInfo build_info();

}  // namespace descent
