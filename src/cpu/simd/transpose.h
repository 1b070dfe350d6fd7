// Transposes small squares in registers: of 16-byte rows everywhere, of 32-byte rows with AVX2.
#pragma once

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {

// Squares of 16-byte rows, which take the fewest shuffles to transpose.
template <class T>
struct Square;
template <>
struct Square<float> {
  static constexpr int kSide = 4;
  using Row [[gnu::vector_size(16)]] = float;
  using Order [[gnu::vector_size(16)]] = std::int32_t;
  [[gnu::always_inline]] static void transpose(Row (&r)[4]) {
    const Row a = __builtin_shuffle(r[0], r[1], Order{0, 4, 1, 5}),
              b = __builtin_shuffle(r[2], r[3], Order{0, 4, 1, 5});
    const Row c = __builtin_shuffle(r[0], r[1], Order{2, 6, 3, 7}),
              d = __builtin_shuffle(r[2], r[3], Order{2, 6, 3, 7});
    r[0] = __builtin_shuffle(a, b, Order{0, 1, 4, 5});
    r[1] = __builtin_shuffle(a, b, Order{2, 3, 6, 7});
    r[2] = __builtin_shuffle(c, d, Order{0, 1, 4, 5});
    r[3] = __builtin_shuffle(c, d, Order{2, 3, 6, 7});
  }
};
template <>
struct Square<double> {
  static constexpr int kSide = 2;
  using Row [[gnu::vector_size(16)]] = double;
  using Order [[gnu::vector_size(16)]] = std::int64_t;
  [[gnu::always_inline]] static void transpose(Row (&r)[2]) {
    const Row a = __builtin_shuffle(r[0], r[1], Order{0, 2}), b = __builtin_shuffle(r[0], r[1], Order{1, 3});
    r[0] = a;
    r[1] = b;
  }
};

// Squares of 32-byte rows with AVX2, which take fewer stores per element; otherwise of 16-byte rows.
#if defined(__AVX2__)
template <class T>
struct Block {
  static constexpr int kSide = 32 / sizeof(T);
  using Row [[gnu::vector_size(32)]] = T;
  using Order [[gnu::vector_size(32)]] = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

  // First transposes squares of half the side inside each half of a row, then swaps the halves.
  [[gnu::always_inline]] static void transpose(Row (&r)[kSide]) {
    if constexpr (kSide == 8) {
      Row a[8], b[8];
#pragma GCC unroll 4
      for (int i = 0; i < 8; i += 2) {
        a[i] = __builtin_shuffle(r[i], r[i + 1], Order{0, 8, 1, 9, 4, 12, 5, 13});
        a[i + 1] = __builtin_shuffle(r[i], r[i + 1], Order{2, 10, 3, 11, 6, 14, 7, 15});
      }
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          b[i + 2 * j] = __builtin_shuffle(a[i + j], a[i + 2 + j], Order{0, 1, 8, 9, 4, 5, 12, 13});
          b[i + 2 * j + 1] = __builtin_shuffle(a[i + j], a[i + 2 + j], Order{2, 3, 10, 11, 6, 7, 14, 15});
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        r[i] = __builtin_shuffle(b[i], b[i + 4], Order{0, 1, 2, 3, 8, 9, 10, 11});
        r[i + 4] = __builtin_shuffle(b[i], b[i + 4], Order{4, 5, 6, 7, 12, 13, 14, 15});
      }
    } else {
      const Row a = __builtin_shuffle(r[0], r[1], Order{0, 4, 2, 6}),
                b = __builtin_shuffle(r[0], r[1], Order{1, 5, 3, 7});
      const Row c = __builtin_shuffle(r[2], r[3], Order{0, 4, 2, 6}),
                d = __builtin_shuffle(r[2], r[3], Order{1, 5, 3, 7});
      r[0] = __builtin_shuffle(a, c, Order{0, 1, 4, 5});
      r[1] = __builtin_shuffle(b, d, Order{0, 1, 4, 5});
      r[2] = __builtin_shuffle(a, c, Order{2, 3, 6, 7});
      r[3] = __builtin_shuffle(b, d, Order{2, 3, 6, 7});
    }
  }
};
#else
template <class T>
using Block = Square<T>;
#endif

}  // namespace descent::cpu::DESCENT_SIMD
