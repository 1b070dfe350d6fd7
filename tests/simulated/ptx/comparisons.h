// 9.3.1: the comparisons of setp and set, by name.
#pragma once

#include <string>
#include <type_traits>

namespace simulated::ptx {

constexpr auto equal = [](auto a, auto b) { return a == b; };
constexpr auto unequal = [](auto a, auto b) { return a != b; };
constexpr auto less = [](auto a, auto b) { return a < b; };
constexpr auto at_most = [](auto a, auto b) { return a <= b; };
constexpr auto more = [](auto a, auto b) { return a > b; };
constexpr auto at_least = [](auto a, auto b) { return a >= b; };
// Floating-point comparisons. The plain ones are false if an operand is NaN; those with u ("unordered") are then true.
constexpr auto ordered_unequal = [](auto a, auto b) { return a < b || a > b; };
constexpr auto equal_or_nan = [](auto a, auto b) { return !(a < b || a > b); };
constexpr auto less_or_nan = [](auto a, auto b) { return !(a >= b); };
constexpr auto at_most_or_nan = [](auto a, auto b) { return !(a > b); };
constexpr auto more_or_nan = [](auto a, auto b) { return !(a <= b); };
constexpr auto at_least_or_nan = [](auto a, auto b) { return !(a < b); };
constexpr auto numbers = [](auto a, auto b) { return a == a && b == b; };
constexpr auto any_nan = [](auto a, auto b) { return a != a || b != b; };

// Calls f.template operator()<comparison, T>("lt.s32") for every comparison that T allows; the argument names the
// comparison and the type. `bits` says that T stands for b16, b32 or b64.
template <class T, class F>
void for_comparisons(const std::string& type, bool bits, F&& f) {
  f.template operator()<equal, T>("eq." + type);
  if constexpr (std::is_floating_point_v<T>) {
    f.template operator()<ordered_unequal, T>("ne." + type);
    f.template operator()<equal_or_nan, T>("equ." + type);
    f.template operator()<unequal, T>("neu." + type);
    f.template operator()<less_or_nan, T>("ltu." + type);
    f.template operator()<at_most_or_nan, T>("leu." + type);
    f.template operator()<more_or_nan, T>("gtu." + type);
    f.template operator()<at_least_or_nan, T>("geu." + type);
    f.template operator()<numbers, T>("num." + type);
    f.template operator()<any_nan, T>("nan." + type);
  } else {
    f.template operator()<unequal, T>("ne." + type);
  }
  if (bits) return;
  f.template operator()<less, T>("lt." + type);
  f.template operator()<at_most, T>("le." + type);
  f.template operator()<more, T>("gt." + type);
  f.template operator()<at_least, T>("ge." + type);
  if constexpr (std::is_unsigned_v<T>) {
    f.template operator()<less, T>("lo." + type);
    f.template operator()<at_most, T>("ls." + type);
    f.template operator()<more, T>("hi." + type);
    f.template operator()<at_least, T>("hs." + type);
  }
}

}  // namespace simulated::ptx
