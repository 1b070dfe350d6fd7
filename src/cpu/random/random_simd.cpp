// Philox4x32-10 for several blocks at once: each 64-bit lane holds one word of one block in its lower half; the
// upper half is garbage that the 32-bit multiplication does not read. Per round and vector: 2 multiplications, 2
// shifts, 4 exclusive ors.
#include "cpu/random/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <type_traits>

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
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// Stores the words of the blocks in `lower` (words 0 and 1) and `upper` (2 and 3), block by block.
[[gnu::always_inline]] inline void store_blocks(Lanes lower, Lanes upper, std::uint32_t* out) {
#if defined(__AVX512F__)
  const Lanes first = __builtin_shufflevector(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11);
  const Lanes second = __builtin_shufflevector(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
  const Lanes first = __builtin_shufflevector(lower, upper, 0, 4, 1, 5),
              second = __builtin_shufflevector(lower, upper, 2, 6, 3, 7);
#else
  const Lanes first = __builtin_shufflevector(lower, upper, 0, 2), second = __builtin_shufflevector(lower, upper, 1, 3);
#endif
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  __builtin_memcpy(out, &first, sizeof first);
  __builtin_memcpy(out + 2 * kLanes, &second, sizeof second);
}

// Four chains at once: a single one would mostly wait for its multiplications.
constexpr int kChains = 4;
constexpr std::uint64_t kLow = 0xFFFFFFFFu;

void words(const PhiloxCall& call, std::uint64_t first, std::int64_t blocks, std::uint32_t* out) {
  const Lanes m0 = Lanes{} + 0xD2511F53u, m1 = Lanes{} + 0xCD9E8D57u;
  Lanes key0[10], key1[10];
  for (unsigned round = 0; round < 10; ++round) {
    key0[round] = Lanes{} + static_cast<std::uint64_t>(static_cast<std::uint32_t>(call.seed) + round * 0x9E3779B9u);
    key1[round] =
        Lanes{} + static_cast<std::uint64_t>(static_cast<std::uint32_t>(call.seed >> 32) + round * 0xBB67AE85u);
  }
  Lanes number{};
  for (int l = 0; l < kLanes; ++l) number[l] = first + static_cast<std::uint64_t>(l);
  std::int64_t b = 0;
  for (; b + kChains * kLanes <= blocks; b += kChains * kLanes) {
    Lanes c0[kChains], c1[kChains], c2[kChains], c3[kChains];
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i, number += kLanes) {
      c0[i] = number;
      c1[i] = number >> 32;
      c2[i] = Lanes{} + call.call;
      c3[i] = Lanes{} + call.stream;
    }
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 4
      for (int i = 0; i < kChains; ++i) {
        const Lanes p0 = multiply_low(c0[i], m0), p1 = multiply_low(c2[i], m1);
        c0[i] = (p1 >> 32) ^ c1[i] ^ key0[round];
        c2[i] = (p0 >> 32) ^ c3[i] ^ key1[round];
        c1[i] = p1;
        c3[i] = p0;
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) {
      store_blocks((c0[i] & kLow) | (c1[i] << 32), (c2[i] & kLow) | (c3[i] << 32), out + 4 * (b + i * kLanes));
    }
  }
  for (; b < blocks; ++b) {
    const philox::Block block = philox::block(call.seed, call.stream, call.call, first + static_cast<std::uint64_t>(b));
    __builtin_memcpy(out + 4 * b, block.word, sizeof block.word);
  }
}

template <class T>
void dropout(const std::uint32_t* word, std::uint32_t threshold, T scale, const T* x, T* y, std::int64_t n) {
  // Masks instead of a conditional: the compiler would turn that into a branch that is mispredicted half of the time.
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  // Both sides are below 2^25, so that a signed comparison, one instruction, is enough.
  const auto least = static_cast<std::int32_t>(threshold);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    const auto dropped = static_cast<Bits>(static_cast<std::int32_t>(word[i] >> 8) < least ? 1 : 0);
    y[i] = __builtin_bit_cast(T, static_cast<Bits>(__builtin_bit_cast(Bits, x[i] * scale) & (dropped - 1)));
  }
}

}  // namespace

extern const RandomKernels random_kernels;
const RandomKernels random_kernels{words, dropout<float>, dropout<double>};

}  // namespace descent::cpu::DESCENT_SIMD
