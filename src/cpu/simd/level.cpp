// Detects the processor's SIMD level once; the environment can only lower it.
#include "cpu/simd/level.h"

#include <cstdlib>
#include <string_view>

namespace descent::cpu {
namespace {

SimdLevel detect() {
  SimdLevel level = SimdLevel::base;
#if defined(DESCENT_SIMD_AVX2)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = SimdLevel::avx2;
#endif
#if defined(DESCENT_SIMD_AVX512)
  if (level == SimdLevel::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    level = SimdLevel::avx512;
  }
#endif
  const char* text = std::getenv("DESCENT_SIMD_LEVEL");
  if (text == nullptr) return level;
  for (const SimdLevel lower : {SimdLevel::base, SimdLevel::avx2}) {
    if (std::string_view(text) == to_string(lower) && lower < level) return lower;
  }
  return level;
}

}  // namespace

SimdLevel simd_level() {
  static const SimdLevel level = detect();
  return level;
}

const char* to_string(SimdLevel level) {
  return level == SimdLevel::avx512 ? "avx512" : level == SimdLevel::avx2 ? "avx2" : "base";
}

}  // namespace descent::cpu
