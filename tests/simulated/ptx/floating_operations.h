// The floating-point operations that PTX has in every rounding mode; they use the processor's current mode.
#pragma once

#include <cmath>

namespace simulated::ptx {

inline constexpr auto sum = [](auto a, auto b) { return a + b; };
inline constexpr auto difference = [](auto a, auto b) { return a - b; };
inline constexpr auto product = [](auto a, auto b) { return a * b; };
inline constexpr auto quotient = [](auto a, auto b) { return a / b; };
inline constexpr auto fused = []<class T>(T a, T b, T c) {
  if constexpr (sizeof(T) == 4) {
    return __builtin_fmaf(a, b, c);
  } else {
    return __builtin_fma(a, b, c);
  }
};
inline constexpr auto root = [](auto a) { return std::sqrt(a); };
inline constexpr auto reciprocal = []<class T>(T a) { return T{1} / a; };

}  // namespace simulated::ptx
