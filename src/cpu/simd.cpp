// Asks the processor once; the environment can only lower the answer.
#include "cpu/simd.h"

#include <cstdlib>
#include <string_view>

namespace descent::cpu {
namespace {

SimdLevel detect() {
  SimdLevel level = SimdLevel::base;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  level = avx512 ? SimdLevel::avx512 : avx2 ? SimdLevel::avx2 : SimdLevel::base;
#endif
  const char* text = std::getenv("DESCENT_SIMD_LEVEL");
  if (text == nullptr) return level;
  for (const SimdLevel lower : {SimdLevel::base, SimdLevel::avx2}) {
    if (std::string_view(text) == name_of(lower) && lower < level) return lower;
  }
  return level;
}

}  // namespace

SimdLevel simd_level() {
  static const SimdLevel level = detect();
  return level;
}

const char* name_of(SimdLevel level) {
  return level == SimdLevel::avx512 ? "avx512" : level == SimdLevel::avx2 ? "avx2" : "base";
}

}  // namespace descent::cpu
