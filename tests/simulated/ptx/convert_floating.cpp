// 9.7.9.21: cvt from floating point.
#include <bit>
#include <cmath>
#include <limits>

#include "ptx/convert.h"

namespace simulated::ptx {
namespace {

using std::uint16_t, std::uint32_t;

template <Rounding rounding>
constexpr auto whole = []<class T>(T a) {
  if constexpr (rounding == Rounding::nearest) {
    return std::nearbyint(a);
  } else if constexpr (rounding == Rounding::zero) {
    return std::trunc(a);
  } else if constexpr (rounding == Rounding::down) {
    return std::floor(a);
  } else {
    return std::ceil(a);
  }
};

// Clamps to the range of D. NaN becomes 0, or only the highest bit set if the source or target type has 64 bits.
template <class D, Rounding rounding>
constexpr auto to_integer = []<class S>(S a) {
  constexpr int kBits = 8 * sizeof(D);
  constexpr S kEnd = S{1} * (std::uint64_t{1} << (kBits - 1)) * (std::is_signed_v<D> ? 1 : 2);  // one past the largest
  const S value = whole<rounding>(a);
  if (value >= kEnd) return std::numeric_limits<D>::max();
  if (value < (std::is_signed_v<D> ? -kEnd : S{0})) return std::numeric_limits<D>::min();
  if (value != value) {
    constexpr bool kHighest = sizeof(S) == 8 || sizeof(D) == 8;
    return kHighest ? static_cast<D>(std::uint64_t{1} << (kBits - 1)) : D{0};
  }
  return static_cast<D>(value);
};

constexpr auto widened = [](float a) { return static_cast<double>(a); };

template <Rounding rounding>
constexpr auto narrowed = [](double a) {
  const float nearest = static_cast<float>(a);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if constexpr (rounding == Rounding::zero) {
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(a)) return std::nextafter(nearest, 0.0f);
  } else if constexpr (rounding == Rounding::down) {
    if (static_cast<double>(nearest) > a) return std::nextafter(nearest, -kInfinity);
  } else if constexpr (rounding == Rounding::up) {
    if (static_cast<double>(nearest) < a) return std::nextafter(nearest, kInfinity);
  }
  return nearest;
};

// Clamps to [0, 1]; NaN becomes +0.
constexpr auto clamped = []<class T>(T a) { return a > T{1} ? T{1} : a > T{0} ? a : T{0}; };

constexpr uint16_t kNan = 0x7FFF;  // bf16: the canonical NaN of every conversion
constexpr auto to_bf16 = [](float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  return a != a ? kNan : static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
};
constexpr auto to_bf16_towards_zero = [](float a) {
  return a != a ? kNan : static_cast<uint16_t>(std::bit_cast<uint32_t>(a) >> 16);
};
constexpr auto from_bf16 = [](uint16_t a) { return std::bit_cast<float>(uint32_t{a} << 16); };
template <auto f>
constexpr auto both = [](float upper, float lower) { return uint32_t{f(upper)} << 16 | f(lower); };

template <class T, Rounding rounding>
void add_whole(Operations& o, const std::string& modifier) {
  add_conversion<whole<rounding>, T, T>(o, modifier);
  for_integers([&]<class D>(D) { add_conversion<to_integer<D, rounding>, D, T>(o, modifier); });
}

}  // namespace

void add_floating_conversions(Operations& o) {
  for_types<float, double>([&]<class T>(T) {
    add_whole<T, Rounding::nearest>(o, ".rni");
    add_whole<T, Rounding::zero>(o, ".rzi");
    add_whole<T, Rounding::down>(o, ".rmi");
    add_whole<T, Rounding::up>(o, ".rpi");
    add_conversion<clamped, T, T>(o, ".sat");
  });
  add_conversion<widened, double, float>(o, "");
  add_conversion<narrowed<Rounding::nearest>, float, double>(o, ".rn");
  add_conversion<narrowed<Rounding::zero>, float, double>(o, ".rz");
  add_conversion<narrowed<Rounding::down>, float, double>(o, ".rm");
  add_conversion<narrowed<Rounding::up>, float, double>(o, ".rp");
  const Type f32{'f', 4}, bf16{'h', 2}, pair{'b', 4};
  o["cvt.f32.bf16"] = {&unary<from_bf16, float, uint16_t>, 0, f32, {bf16}};
  o["cvt.rn.bf16.f32"] = {&unary<to_bf16, uint16_t, float>, 0, bf16, {f32}};
  o["cvt.rz.bf16.f32"] = {&unary<to_bf16_towards_zero, uint16_t, float>, 0, bf16, {f32}};
  o["cvt.rn.bf16x2.f32"] = {&binary<both<to_bf16>, uint32_t, float, float>, 0, pair, {f32, f32}};
  o["cvt.rz.bf16x2.f32"] = {&binary<both<to_bf16_towards_zero>, uint32_t, float, float>, 0, pair, {f32, f32}};
}

}  // namespace simulated::ptx
