// The peak kernel: independent multiply-adds in registers.
#include "cpu/runtime/peak.h"

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

double multiply_add(std::int64_t rounds) {
  constexpr int kChains = 12;  // latency 4 times 2 per cycle, plus a margin
  volatile float seed = 0.5F;  // unknown to the compiler
  const Vec<float> factor = broadcast<float>(seed), term = broadcast<float>(seed);
  Vec<float> chain[kChains];
  for (int j = 0; j < kChains; ++j) chain[j] = broadcast(static_cast<float>(j));  // equal chains would be merged
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) chain[j] = chain[j] * factor + term;
  }
  Vec<float> sum{};
  for (int j = 0; j < kChains; ++j) sum += chain[j];
  seed = sum[0];
  return static_cast<double>(rounds) * kChains * kLanes<float> * 2;
}

}  // namespace

extern constexpr PeakKernel peak_kernel{multiply_add};

}  // namespace descent::cpu::DESCENT_SIMD
