// Single-pass elementwise kernels against the CPU backend: every function and derivative, both Write modes, packs and
// tails at every alignment, in place; filling and conversion of all types.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bf16.h"
#include "device_array.h"
#include "fused.h"
#include "support/backend_test.h"
#include "support/reference_only.h"

#include "cuda/elementwise/elementwise.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::unit;

// Lengths around packs, warps and blocks, and one that takes a whole grid more than one pass.
const std::vector<std::int64_t> kLengths{0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025, 6157};

// `same`: IEEE operations only, so the same bits. `library`: exp, log and tanh, 4 ulp. `composed`: several of those,
// 8 units of the largest term. Units are those of the type used for arithmetic, f32 for bf16.
enum class Rounding { same, library, composed };

struct UnaryCase {
  Unary op;
  const char* name;
  double a, b, low, high;
  Rounding forward, backward;
};

const std::vector<UnaryCase>& unary_cases() {
  static const std::vector<UnaryCase> cases{
      {Unary::neg, "neg", 0, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::exp, "exp", 0, 0, -20, 20, Rounding::library, Rounding::same},
      {Unary::log, "log", 0, 0, 0.01, 50, Rounding::library, Rounding::same},
      {Unary::sqrt, "sqrt", 0, 0, 0.01, 50, Rounding::same, Rounding::same},
      {Unary::square, "square", 0, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::abs, "abs", 0, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::reciprocal, "reciprocal", 0, 0, 0.2, 5, Rounding::same, Rounding::same},
      {Unary::pow, "pow 2.5", 2.5, 0, 0.1, 5, Rounding::composed, Rounding::composed},
      {Unary::pow, "pow 0", 0, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::clamp, "clamp", -1.25, 0.75, -3, 3, Rounding::same, Rounding::same},
      {Unary::affine, "affine", 1.5, 0.25, -3, 3, Rounding::composed, Rounding::same},
      {Unary::relu, "relu", 0, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::leaky_relu, "leaky_relu", 0.1, 0, -3, 3, Rounding::same, Rounding::same},
      {Unary::sigmoid, "sigmoid", 0, 0, -30, 30, Rounding::composed, Rounding::same},
      {Unary::tanh, "tanh", 0, 0, -5, 5, Rounding::library, Rounding::composed},
      {Unary::gelu, "gelu", 0, 0, -4, 4, Rounding::composed, Rounding::composed},
      {Unary::gelu_tanh, "gelu_tanh", 0, 0, -4, 4, Rounding::composed, Rounding::composed},
      {Unary::silu, "silu", 0, 0, -20, 20, Rounding::composed, Rounding::composed},
  };
  return cases;
}

template <class T>
double error_bound(Rounding rounding, T value, double largest_term) {
  if (rounding == Rounding::same) return 0;
  if (rounding == Rounding::library) return 8 * unit<Wide<T>>() * std::abs(static_cast<double>(value));
  return 8 * unit<Wide<T>>() * (std::abs(static_cast<double>(value)) + largest_term);
}

// The same NaNs and infinities; finite numbers were within bound(i) before they were stored.
template <class T, class F>
void expect_near(const std::vector<T>& got, const std::vector<T>& want, const F& bound) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto value = static_cast<double>(got[i]), expected = static_cast<double>(want[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << "element " << i << " is " << value;
    } else if (std::isinf(expected) || bound(i) == 0) {
      ASSERT_EQ(value, expected) << "element " << i;
    } else {
      ASSERT_NEAR(value, expected, stored_bound(bound(i), want[i])) << "element " << i;
    }
  }
}

template <class T>
std::vector<T> cpu_forward(const UnaryCase& c, std::vector<T> x) {
  const test::ReferenceOnly reference;
  std::vector<T> y(x.size());
  cpu::backend().elementwise->unary(c.op, c.a, c.b, view_of(x), view_of(y));
  return y;
}

template <class T>
std::vector<T> cpu_backward(const UnaryCase& c, std::vector<T> x, std::vector<T> y, std::vector<T> dy,
                            std::vector<T> dx, Write write) {
  const test::ReferenceOnly reference;
  cpu::backend().elementwise->unary_backward(c.op, c.a, c.b, view_of(x), view_of(y), view_of(dy),
                                             Grad{view_of(dx), write});
  return dx;
}

template <class T>
void check_forward(const UnaryCase& c, const std::vector<T>& x, int offset_x, int offset_y) {
  TestStream stream;
  const std::vector<T> want = cpu_forward(c, x);
  const DeviceArray<T> in(x, offset_x);
  DeviceArray<T> out(in.size(), offset_y);
  const auto bound = [&](std::size_t i) {
    return error_bound(c.forward, want[i], std::abs(static_cast<double>(x[i])));
  };
  unary(stream, c.op, c.a, c.b, in.size(), static_cast<const T*>(in.data()), out.data());
  expect_near(out.host(), want, bound);
  unary(stream, c.op, c.a, c.b, in.size(), static_cast<const T*>(in.data()), in.data());
  expect_near(in.host(), want, bound);
}

// Inputs that the function does not need are null pointers, which a kernel must not read.
template <class T>
void check_backward(const UnaryCase& c, const std::vector<T>& x, int offset_x, int offset_dx) {
  TestStream stream;
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<T> y = cpu_forward(c, x), dy = random_values<T>(n, 3), before = random_values<T>(n, 4);
  const std::vector<T> want = cpu_backward(c, x, y, dy, before, Write::overwrite);
  bool needs_x = false, needs_y = false;
  for_unary(c.op, [&](auto f) {
    needs_x = f.kTraits.reads_x;
    needs_y = f.kTraits.reads_y;
  });
  const DeviceArray<T> in(x, offset_x), out(y, offset_x), up(dy, offset_x);
  const T *const px = needs_x ? in.data() : nullptr, *const py = needs_y ? out.data() : nullptr;
  const auto bound = [&](std::size_t i) {
    const double at = static_cast<double>(x[i]);
    return error_bound(c.backward, want[i], std::abs(static_cast<double>(dy[i])) * (1 + at * at));
  };
  DeviceArray<T> dx(n, offset_dx);
  unary_backward(stream, c.op, c.a, c.b, n, px, py, static_cast<const T*>(up.data()), dx.data(), Write::overwrite);
  expect_near(dx.host(), want, bound);

  dx.set(before);
  unary_backward(stream, c.op, c.a, c.b, n, px, py, static_cast<const T*>(up.data()), dx.data(), Write::accumulate);
  const std::vector<T> sum = cpu_backward(c, x, y, dy, before, Write::accumulate);
  expect_near(dx.host(), sum, [&](std::size_t i) {  // the compiler may fuse a product with this addition
    const auto first = static_cast<double>(before[i]), second = static_cast<double>(want[i]);
    return bound(i) + 2 * unit<Wide<T>>() * (std::abs(first) + std::abs(second));
  });
}

template <class T>
class ElementwiseKernels : public testing::Test {};
using Stored = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(ElementwiseKernels, Stored);

TYPED_TEST(ElementwiseKernels, UnaryForwardAndBackward) {
  using T = TypeParam;
  for_schedules([] {
    for (const UnaryCase& c : unary_cases()) {
      for (const std::int64_t n : kLengths) {
        SCOPED_TRACE(std::string(c.name) + ", " + std::to_string(n) + " elements");
        const std::vector<T> x = random_values<T>(n, 1, c.low, c.high);
        check_forward(c, x, 0, 0);
        check_backward(c, x, 0, 0);
      }
    }
  });
}

TYPED_TEST(ElementwiseKernels, UnaryOfUnalignedPointers) {
  using T = TypeParam;
  for (const UnaryCase& c : {unary_cases()[0], unary_cases()[1], unary_cases()[4]}) {
    for (const std::int64_t n : {1, 4, 33, 1025}) {
      for (const auto& [first, second] : std::vector<std::pair<int, int>>{{1, 0}, {0, 1}, {1, 1}, {3, 1}}) {
        SCOPED_TRACE(std::string(c.name) + ", " + std::to_string(n) + " elements at " + std::to_string(first) +
                     " and " + std::to_string(second));
        const std::vector<T> x = random_values<T>(n, 1, c.low, c.high);
        check_forward(c, x, first, second);
        check_backward(c, x, first, second);
      }
    }
  }
}

TYPED_TEST(ElementwiseKernels, UnaryOfSpecialValues) {
  using T = TypeParam;
  using Limits = std::numeric_limits<Wide<T>>;
  for (const UnaryCase& c : unary_cases()) {
    SCOPED_TRACE(c.name);
    const std::vector<T> x{T(Limits::quiet_NaN()),
                           T(Limits::infinity()),
                           T(-Limits::infinity()),
                           T(0),
                           T(-0.0),
                           T(Limits::max()),
                           T(Limits::lowest()),
                           T(Limits::min()),
                           T(c.a),
                           T(c.b),
                           T(-88),
                           T(88)};
    TestStream stream;
    const std::vector<T> want = cpu_forward(c, x);
    const DeviceArray<T> in(x);
    DeviceArray<T> out(in.size());
    unary(stream, c.op, c.a, c.b, in.size(), static_cast<const T*>(in.data()), out.data());
    expect_near(out.host(), want, [&](std::size_t i) { return error_bound(c.forward, want[i], 0); });

    const std::vector<T> dy(x.size(), T(1.5)), slopes = cpu_backward(c, x, want, dy, dy, Write::overwrite);
    const DeviceArray<T> y(want), up(dy);
    DeviceArray<T> dx(in.size());
    unary_backward(stream, c.op, c.a, c.b, in.size(), static_cast<const T*>(in.data()), static_cast<const T*>(y.data()),
                   static_cast<const T*>(up.data()), dx.data(), Write::overwrite);
    expect_near(dx.host(), slopes, [&](std::size_t i) { return error_bound(c.backward, slopes[i], 0); });
  }
}

TYPED_TEST(ElementwiseKernels, Axpby) {
  using T = TypeParam;
  using V = Wide<T>;
  for_schedules([] {
    for (const std::int64_t n : kLengths) {
      for (const int offset : {0, 1}) {
        SCOPED_TRACE(std::to_string(n) + " elements at " + std::to_string(offset));
        TestStream stream;
        const std::vector<T> x = random_values<T>(n, 5), y = random_values<T>(n, 6);
        const DeviceArray<T> in(x, offset);
        DeviceArray<T> out(n);  // NaN: beta 0 must not read it
        axpby(stream, 1.7, static_cast<const T*>(in.data()), 0, n, out.data());
        std::vector<T> want(x);
        for (T& value : want) value = T(V(1.7) * V(value));
        expect_near(out.host(), want, [](std::size_t) { return 0; });

        out.set(y);
        axpby(stream, 0.3, static_cast<const T*>(in.data()), -1.7, n, out.data());
        for (std::size_t i = 0; i < want.size(); ++i) want[i] = T(V(0.3) * V(x[i]) + V(-1.7) * V(y[i]));
        expect_near(out.host(), want, [&](std::size_t i) {
          const V a = V(0.3) * V(x[i]), b = V(-1.7) * V(y[i]);
          return fused_bound<V>(std::max(std::abs(a), std::abs(b)), a + b);
        });
      }
    }
  });
}

template <class T, class F>
void check_scale_by() {
  for (const std::int64_t n : kLengths) {
    for (const int offset : {0, 1}) {
      SCOPED_TRACE(std::to_string(n) + " elements at " + std::to_string(offset));
      TestStream stream;
      const F by = static_cast<F>(-0.7);
      std::vector<T> want = random_values<T>(n, 7);
      const DeviceArray<T> x(want, offset);
      const DeviceArray<F> factor({by});
      scale_by(stream, n, x.data(), static_cast<const F*>(factor.data()));
      for (T& value : want) value = T(Wide<T>(value) * static_cast<Wide<T>>(by));
      expect_near(x.host(), want, [](std::size_t) { return 0; });
    }
  }
}

TYPED_TEST(ElementwiseKernels, ScaleByAnyFactor) {
  for_schedules([] {
    check_scale_by<TypeParam, float>();
    check_scale_by<TypeParam, double>();
  });
}

template <class T>
void check_fill(double value) {
  for (const std::int64_t n : kLengths) {
    for (const int offset : {0, 1}) {
      SCOPED_TRACE(std::to_string(n) + " elements at " + std::to_string(offset));
      TestStream stream;
      DeviceArray<T> y(n, offset);
      const T element = convert_element<T>(value);
      fill(stream, element, n, y.data());
      const std::vector<T> got = y.host();
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(convert_element<double>(got[i]), convert_element<double>(element)) << "element " << i;
      }
    }
  }
}

TEST(ElementwiseKernels, FillsEveryType) {
  for_schedules([] {
    check_fill<float>(0.1);
    check_fill<double>(-0.1);
    check_fill<std::int32_t>(-7.9);
    check_fill<std::uint8_t>(254);
    check_fill<Bf16>(1.25);
  });
}

// The CPU converts from f64 to From to make the values, and from From to To for the expected bytes.
template <class From, class To>
void check_convert(std::int64_t n, int offset_x, int offset_y) {
  SCOPED_TRACE(std::string(to_string(type_of<From>())) + " to " + std::string(to_string(type_of<To>())) + ", " +
               std::to_string(n) + " elements at " + std::to_string(offset_x) + " and " + std::to_string(offset_y));
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> special{std::nan(""), inf,   -inf,  1e10,       -1e10,     1e300,
                                    300.5,        -0.75, 255.9, 1.00390625, 1.01171875};
  std::vector<double> wide = random_values<double>(n, 11, -100, 300);
  std::copy_n(special.begin(), std::min(special.size(), wide.size()), wide.begin());
  const Shape shape{n};
  std::vector<From> from(wide.size());
  std::vector<To> want(wide.size());
  Elementwise& on_cpu = *cpu::backend().elementwise;
  on_cpu.convert({wide.data(), shape, DType::f64}, {from.data(), shape, type_of<From>()});
  on_cpu.convert({from.data(), shape, type_of<From>()}, {want.data(), shape, type_of<To>()});
  TestStream stream;
  const DeviceArray<From> x(from, offset_x);
  const DeviceArray<To> y(n, offset_y);
  convert(stream, n, static_cast<const From*>(x.data()), y.data());
  const std::vector<To> got = y.host();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double value = convert_element<double>(got[i]), expected = convert_element<double>(want[i]);
    ASSERT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected)))
        << "element " << i << " is " << value << ", expected " << expected;
  }
}

template <class From>
void check_conversions_from() {
  for (const auto& [x, y] : std::vector<std::pair<int, int>>{{0, 0}, {1, 0}, {0, 1}, {2, 1}}) {
    for (const std::int64_t n : {0, 1, 31, 32, 33, 257, 1025}) {
      check_convert<From, float>(n, x, y);
      check_convert<From, double>(n, x, y);
      check_convert<From, std::int32_t>(n, x, y);
      check_convert<From, std::uint8_t>(n, x, y);
      check_convert<From, Bf16>(n, x, y);
    }
  }
}

TEST(ElementwiseKernels, ConvertsEveryTypeToEvery) {
  for_schedules([] {
    check_conversions_from<float>();
    check_conversions_from<double>();
    check_conversions_from<std::int32_t>();
    check_conversions_from<std::uint8_t>();
    check_conversions_from<Bf16>();
  });
}

}  // namespace
}  // namespace descent::gpu
