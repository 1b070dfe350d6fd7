// 9.7.3: floating-point arithmetic, rounded to nearest even. Subnormal numbers are supported; a NaN result in f32 may
// be any NaN.
#include <cmath>
#include <limits>

#include "ptx/floating_operations.h"
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

constexpr auto magnitude = [](auto a) { return std::fabs(a); };
constexpr auto negative = [](auto a) { return -a; };
constexpr auto signed_as = [](auto a, auto b) { return std::copysign(b, a); };  // 9.7.3.2: a's sign, b's magnitude

// 9.7.3.11: NaN only if both operands are NaN; -0 is less than +0.
constexpr auto lesser = []<class T>(T a, T b) {
  const T numbers = a < b || (a == b && std::signbit(a)) ? a : b;
  return a != a ? (b != b ? std::numeric_limits<T>::quiet_NaN() : b) : b != b ? a : numbers;
};
constexpr auto greater = []<class T>(T a, T b) {
  const T numbers = b < a || (a == b && !std::signbit(a)) ? a : b;
  return a != a ? (b != b ? std::numeric_limits<T>::quiet_NaN() : b) : b != b ? a : numbers;
};

}  // namespace

void add_floating(Operations& o) {
  for_types<float, double>([&]<class T>(T) {
    const std::string type = "." + name_of<T>();
    constexpr std::uint8_t kDouble = sizeof(T) == 8 ? 0x80 : 0;
    constexpr std::uint8_t kOne = kDouble | 1, kTwo = kDouble | 2;
    // ptxas may fuse mul and add without .rn; the simulated device never does.
    for (const std::string rounding : {"", ".rn"}) {
      add_binary<sum, T>(o, "add" + rounding + type, kOne);
      add_binary<difference, T>(o, "sub" + rounding + type, kOne);
      add_binary<product, T>(o, "mul" + rounding + type, kOne);
    }
    add_ternary<fused, T>(o, "fma.rn" + type, kTwo);
    add_binary<quotient, T>(o, "div.rn" + type, kOne);
    add_unary<reciprocal, T>(o, "rcp.rn" + type, kOne);
    add_unary<root, T>(o, "sqrt.rn" + type, kOne);
    add_binary<lesser, T>(o, "min" + type);
    add_binary<greater, T>(o, "max" + type);
    add_unary<magnitude, T>(o, "abs" + type);
    add_unary<negative, T>(o, "neg" + type);
    add_binary<signed_as, T>(o, "copysign" + type);
  });
}

}  // namespace simulated::ptx
