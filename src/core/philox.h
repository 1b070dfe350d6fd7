// Philox4x32-10 (Salmon et al., SC 2011): arithmetic that the CPU and CUDA share, so that both draw the same bits.
// Element i of a call takes word i % 4 of the block with counter (i / 4, call, stream) under the key (seed).
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace descent::philox {

struct Block {
  std::uint32_t word[4];
};

DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE Block block(std::uint64_t seed, std::uint32_t stream, std::uint32_t call,
                                                      std::uint64_t number) {
  std::uint32_t c0 = static_cast<std::uint32_t>(number);
  std::uint32_t c1 = static_cast<std::uint32_t>(number >> 32);
  std::uint32_t c2 = call;
  std::uint32_t c3 = stream;
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53u) * c0;
    const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57u) * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// The word of element `index`; code that needs consecutive elements calls block() once for four of them.
DESCENT_HOST_DEVICE inline std::uint32_t word(std::uint64_t seed, std::uint32_t stream, std::uint32_t call,
                                              std::uint64_t index) {
  return block(seed, stream, call, index / 4).word[index % 4];
}

// Uniform in [0, 1): 24 bits, exact in f32 and f64, so that both types draw the same numbers.
template <class T>
DESCENT_HOST_DEVICE inline T uniform(std::uint32_t word) {
  return static_cast<T>(word >> 8) * static_cast<T>(1.0 / 16777216.0);
}

// Two standard normal numbers from two words (Box and Muller, 1958), computed in f64; 1 - u keeps the logarithm finite.
DESCENT_HOST_DEVICE inline void normal_pair(std::uint32_t a, std::uint32_t b, double& first, double& second) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform<double>(a)));
  const double angle = 6.283185307179586476925286766559 * uniform<double>(b);
  first = radius * std::cos(angle);
  second = radius * std::sin(angle);
}

}  // namespace descent::philox
