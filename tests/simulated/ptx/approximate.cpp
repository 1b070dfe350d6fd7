// 9.7.3: the fast approximations in f32, and f64's approximate reciprocal. The ISA states an error bound for each.
// These are as accurate as the host's functions, thus within the bound, but their bits differ from a GPU's. With .ftz,
// subnormal arguments and results become zeros of the same sign.
#include <bit>
#include <cmath>
#include <limits>

#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

constexpr auto flushed = []<class T>(T a) {
  return std::fabs(a) < std::numeric_limits<T>::min() ? std::copysign(T{0}, a) : a;
};

constexpr auto reciprocal = [](float a) { return 1.0f / a; };
constexpr auto root = [](float a) { return std::sqrt(a); };
constexpr auto reciprocal_root = [](float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); };
constexpr auto sine = [](float a) { return std::sin(a); };
constexpr auto cosine = [](float a) { return std::cos(a); };
constexpr auto logarithm = [](float a) { return std::log2(a); };
constexpr auto power = [](float a) { return std::exp2(a); };
constexpr auto hyperbolic_tangent = [](float a) { return std::tanh(a); };

template <auto f>
constexpr auto flushing = [](float a) { return flushed(f(flushed(a))); };

// 9.7.3.14: maps the upper 32 bits of a (sign, 11 bits of exponent, 20 of mantissa) to the upper 32 bits of the result.
constexpr auto gross_reciprocal = [](double a) {
  constexpr std::uint64_t kUpper = 0xFFFFFFFF00000000u;
  if (a != a) return std::bit_cast<double>(std::uint64_t{0x7FFFFFFF00000000u});
  const double upper = std::bit_cast<double>(std::bit_cast<std::uint64_t>(a) & kUpper);
  const double result = flushed(1.0 / flushed(upper));
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(result) & kUpper);
};

template <auto f>
void add_both(Operations& o, const std::string& mnemonic) {
  add_unary<f, float>(o, mnemonic + ".approx.f32", 1);
  add_unary<flushing<f>, float>(o, mnemonic + ".approx.ftz.f32", 1);
}

}  // namespace

void add_approximate(Operations& o) {
  add_both<reciprocal>(o, "rcp");
  add_both<root>(o, "sqrt");
  add_both<reciprocal_root>(o, "rsqrt");
  add_both<sine>(o, "sin");
  add_both<cosine>(o, "cos");
  add_both<logarithm>(o, "lg2");
  add_both<power>(o, "ex2");
  add_unary<hyperbolic_tangent, float>(o, "tanh.approx.f32", 1);
  add_unary<gross_reciprocal, double>(o, "rcp.approx.ftz.f64", 0x81);
}

}  // namespace simulated::ptx
