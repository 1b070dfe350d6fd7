// 9.7.9.21: cvt between integers, and from integers to floating point; 9.7.9.20: cvta.
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "ptx/convert.h"

namespace simulated::ptx {
namespace {

template <class D>
constexpr auto truncated = [](auto a) { return static_cast<D>(a); };

template <class D>
constexpr auto saturated = [](auto a) {
  using Limits = std::numeric_limits<D>;
  if (std::cmp_less(a, Limits::min())) return Limits::min();
  if (std::cmp_greater(a, Limits::max())) return Limits::max();
  return static_cast<D>(a);
};

template <class D, Rounding rounding>
constexpr auto to_floating = []<class S>(S a) {
  if constexpr (rounding == Rounding::nearest) {
    return static_cast<D>(a);
  } else {
    const bool negative = a < 0;
    std::uint64_t magnitude = static_cast<std::uint64_t>(a);
    if (negative) magnitude = 0 - magnitude;
    const int excess = static_cast<int>(std::bit_width(magnitude)) - std::numeric_limits<D>::digits;
    if (excess <= 0) return static_cast<D>(a);
    std::uint64_t digits = magnitude >> excess;
    const bool inexact = digits << excess != magnitude;
    if (inexact && rounding == (negative ? Rounding::down : Rounding::up)) ++digits;
    const D result = std::ldexp(static_cast<D>(digits), excess);
    return negative ? -result : result;
  }
};

constexpr auto same_address = [](std::uint64_t a) { return a; };

}  // namespace

void add_integer_conversions(Operations& o) {
  for_integers([&]<class S>(S) {
    for_integers([&]<class D>(D) {
      add_conversion<truncated<D>, D, S>(o, "");
      add_conversion<saturated<D>, D, S>(o, ".sat");
    });
    for_types<float, double>([&]<class D>(D) {
      add_conversion<to_floating<D, Rounding::nearest>, D, S>(o, ".rn");
      add_conversion<to_floating<D, Rounding::zero>, D, S>(o, ".rz");
      add_conversion<to_floating<D, Rounding::down>, D, S>(o, ".rm");
      add_conversion<to_floating<D, Rounding::up>, D, S>(o, ".rp");
    });
  });
  // A generic address of global memory is the address itself. There are no generic addresses of other memory.
  for (const char* name : {"cvta.global.u64", "cvta.to.global.u64"}) add_unary<same_address, std::uint64_t>(o, name);
}

}  // namespace simulated::ptx
