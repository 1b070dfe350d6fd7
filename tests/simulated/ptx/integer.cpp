// 9.7.1: integer arithmetic. Overflow wraps.
#include <bit>
#include <limits>

#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

// Sums and products of integers of any type, without undefined signed overflow and promotion of short types.
constexpr auto sum = []<class T>(T a, T b) { return static_cast<T>(std::uint64_t(a) + std::uint64_t(b)); };
constexpr auto difference = []<class T>(T a, T b) { return static_cast<T>(std::uint64_t(a) - std::uint64_t(b)); };
constexpr auto low_product = []<class T>(T a, T b) { return static_cast<T>(std::uint64_t(a) * std::uint64_t(b)); };
constexpr auto low_product_sum = [](auto a, auto b, auto c) { return sum(low_product(a, b), c); };

template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;
constexpr auto high_product = []<class T>(T a, T b) {
  return static_cast<T>((Wide<T>(a) * Wide<T>(b)) >> (8 * sizeof(T)));
};
constexpr auto high_product_sum = [](auto a, auto b, auto c) { return sum(high_product(a, b), c); };

// The integer type of twice the width.
template <class T>
using Twice = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>,
                                 std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;
constexpr auto wide_product = []<class T>(T a, T b) { return low_product(Twice<T>(a), Twice<T>(b)); };
constexpr auto wide_product_sum = []<class T>(T a, T b, Twice<T> c) { return sum(wide_product(a, b), c); };

// Division by zero is unspecified (9.7.1.8, 9.7.1.9). As on GPUs, the quotient has all bits set and the remainder is
// the dividend.
constexpr auto quotient = []<class T>(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return difference(T{0}, a);
  }
  return static_cast<T>(a / b);
};
constexpr auto remainder = []<class T>(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return T{0};
  }
  return static_cast<T>(a % b);
};

constexpr auto lesser = [](auto a, auto b) { return b < a ? b : a; };
constexpr auto greater = [](auto a, auto b) { return a < b ? b : a; };
constexpr auto negative = []<class T>(T a) { return difference(T{0}, a); };
constexpr auto magnitude = []<class T>(T a) { return a < 0 ? difference(T{0}, a) : a; };

}  // namespace

void add_integer(Operations& o) {
  using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t;
  for_types<uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t>([&]<class T>(T) {
    const std::string type = "." + name_of<T>();
    add_binary<sum, T>(o, "add" + type);
    add_binary<difference, T>(o, "sub" + type);
    add_binary<low_product, T>(o, "mul.lo" + type);
    add_binary<high_product, T>(o, "mul.hi" + type);
    add_ternary<low_product_sum, T>(o, "mad.lo" + type);
    add_ternary<high_product_sum, T>(o, "mad.hi" + type);
    add_binary<quotient, T>(o, "div" + type);
    add_binary<remainder, T>(o, "rem" + type);
    add_binary<lesser, T>(o, "min" + type);
    add_binary<greater, T>(o, "max" + type);
    if constexpr (sizeof(T) < 8) {
      using D = Twice<T>;
      add_row<D, T, T>(o, "mul.wide" + type, &binary<wide_product, D, T, T>);
      add_row<D, T, T, D>(o, "mad.wide" + type, &ternary<wide_product_sum, D, T, T, D>);
    }
    if constexpr (std::is_signed_v<T>) {
      add_unary<negative, T>(o, "neg" + type);
      add_unary<magnitude, T>(o, "abs" + type);
    }
  });
}

}  // namespace simulated::ptx
