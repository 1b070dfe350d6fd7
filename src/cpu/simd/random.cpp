// Philox4x32-10 for several blocks at once: each 64-bit lane holds one word of one block in its lower half; the upper half is
// rubbish that the 32-bit multiplication does not read. Per round and vector: 2 multiplications, 2 shifts, 4 exclusive ors.
#include "cpu/random_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/philox.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 8;
#elif defined(__AVX2__)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif
using Lanes [[gnu::vector_size(8 * kLanes)]] = std::uint64_t;

[[gnu::always_inline]] inline Lanes multiply_low(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return reinterpret_cast<Lanes>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Lanes>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__x86_64__)
  return reinterpret_cast<Lanes>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  constexpr std::uint64_t kLow = 0xFFFFFFFFu;
  return (a & kLow) * (b & kLow);
#endif
}

void words(const PhiloxCall& call, std::uint64_t first, std::int64_t blocks, std::uint32_t* out) {
  constexpr std::uint64_t kLow = 0xFFFFFFFFu;
  const Lanes m0 = Lanes{} + 0xD2511F53u, m1 = Lanes{} + 0xCD9E8D57u;
  Lanes key0[10], key1[10];
  for (unsigned round = 0; round < 10; ++round) {
    key0[round] = Lanes{} + static_cast<std::uint64_t>(static_cast<std::uint32_t>(call.seed) + round * 0x9E3779B9u);
    key1[round] = Lanes{} + static_cast<std::uint64_t>(static_cast<std::uint32_t>(call.seed >> 32) + round * 0xBB67AE85u);
  }
  Lanes number{};
  for (int l = 0; l < kLanes; ++l) number[l] = first + static_cast<std::uint64_t>(l);
  std::int64_t b = 0;
  for (; b + kLanes <= blocks; b += kLanes, number += kLanes) {
    Lanes c0 = number, c1 = number >> 32, c2 = Lanes{} + call.call, c3 = Lanes{} + call.stream;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const Lanes p0 = multiply_low(c0, m0), p1 = multiply_low(c2, m1);
      c0 = (p1 >> 32) ^ c1 ^ key0[round];
      c2 = (p0 >> 32) ^ c3 ^ key1[round];
      c1 = p1;
      c3 = p0;
    }
    const Lanes lower = (c0 & kLow) | (c1 << 32), upper = (c2 & kLow) | (c3 << 32);
    std::uint64_t pair[2 * kLanes];
    for (int l = 0; l < kLanes; ++l) {
      pair[2 * l] = lower[l];
      pair[2 * l + 1] = upper[l];
    }
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    __builtin_memcpy(out + 4 * b, pair, sizeof pair);
  }
  for (; b < blocks; ++b) {
    const philox::Block block = philox::block(call.seed, call.stream, call.call, first + static_cast<std::uint64_t>(b));
    __builtin_memcpy(out + 4 * b, block.word, sizeof block.word);
  }
}

template <class T>
void dropout(const std::uint32_t* word, std::uint32_t threshold, T scale, const T* x, T* y, std::int64_t n) {
  const auto least = static_cast<std::int32_t>(threshold);  // both sides are below 2^25: a signed comparison, one instruction
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    const T scaled = x[i] * scale;
    y[i] = static_cast<std::int32_t>(word[i] >> 8) >= least ? scaled : T(0);
  }
}

}  // namespace

extern const RandomKernels random_kernels;
const RandomKernels random_kernels{words, dropout<float>, dropout<double>};

}  // namespace descent::cpu::DESCENT_SIMD
