// Elementwise ops against the formulas in long double, and derivatives against central differences of those.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "cpu/dispatch.h"
#include "support/backend_test.h"

namespace descent {
namespace {

using namespace descent::test;
using Real = long double;

struct UnaryCase {
  Unary op;
  const char* name;
  double a, b;
  double low, high;  // range of the inputs, away from kinks
  std::function<Real(Real)> f;
};

const std::vector<UnaryCase>& unary_cases() {
  static const Real root2 = std::sqrt(Real(2));
  static const Real pi = std::acos(Real(-1));
  static const std::vector<UnaryCase> cases{
      {Unary::neg, "neg", 0, 0, -3, 3, [](Real x) { return -x; }},
      {Unary::exp, "exp", 0, 0, -20, 20, [](Real x) { return std::exp(x); }},
      {Unary::log, "log", 0, 0, 0.01, 50, [](Real x) { return std::log(x); }},
      {Unary::sqrt, "sqrt", 0, 0, 0.01, 50, [](Real x) { return std::sqrt(x); }},
      {Unary::square, "square", 0, 0, -3, 3, [](Real x) { return x * x; }},
      {Unary::abs, "abs", 0, 0, 0.1, 3, [](Real x) { return std::abs(x); }},
      {Unary::abs, "abs of negative", 0, 0, -3, -0.1, [](Real x) { return std::abs(x); }},
      {Unary::reciprocal, "reciprocal", 0, 0, 0.2, 5, [](Real x) { return 1 / x; }},
      {Unary::pow, "pow 2.5", 2.5, 0, 0.1, 5, [](Real x) { return std::pow(x, Real(2.5)); }},
      {Unary::pow, "pow -1", -1, 0, -5, -0.2, [](Real x) { return 1 / x; }},
      {Unary::pow, "pow 0", 0, 0, -3, 3, [](Real) { return Real(1); }},
      {Unary::clamp, "clamp inside", -4, 4, -3, 3, [](Real x) { return x; }},
      {Unary::clamp, "clamp above", -4, 0.5, 1, 3, [](Real) { return Real(0.5); }},
      {Unary::clamp, "clamp below", -0.5, 4, -3, -1, [](Real) { return Real(-0.5); }},
      {Unary::affine, "affine", 1.5, 0.25, 0, 3, [](Real x) { return Real(1.5) * x + Real(0.25); }},
      {Unary::relu, "relu", 0, 0, 0.1, 3, [](Real x) { return x; }},
      {Unary::relu, "relu of negative", 0, 0, -3, -0.1, [](Real) { return Real(0); }},
      {Unary::leaky_relu, "leaky_relu", 0.125, 0, -3, -0.1, [](Real x) { return x / 8; }},
      {Unary::leaky_relu, "leaky_relu of positive", 0.125, 0, 0.1, 3, [](Real x) { return x; }},
      {Unary::sigmoid, "sigmoid", 0, 0, -30, 30, [](Real x) { return 1 / (1 + std::exp(-x)); }},
      {Unary::tanh, "tanh", 0, 0, -5, 5, [](Real x) { return std::tanh(x); }},
      {Unary::gelu, "gelu", 0, 0, -4, 4, [](Real x) { return x / 2 * (1 + std::erf(x / root2)); }},
      {Unary::gelu_tanh, "gelu_tanh", 0, 0, -4, 4,
       [](Real x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / pi) * (x + Real(0.044715) * x * x * x))); }},
      {Unary::silu, "silu", 0, 0, -20, 20, [](Real x) { return x / (1 + std::exp(-x)); }},
  };
  return cases;
}

template <class T>
class ElementwiseTest : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(ElementwiseTest, Floating);

TYPED_TEST(ElementwiseTest, UnaryIsItsFormula) {
  using T = TypeParam;
  for (const UnaryCase& c : unary_cases()) {
    SCOPED_TRACE(c.name);
    for (const std::int64_t n : kSizes) {
      const GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 1, c.low, c.high));
      GuardedBuffer<T> y(Shape{n});
      cpu_backend().elementwise->unary(c.op, c.a, c.b, {x.data(), x.shape(), dtype_of<T>}, y.view());
      for (std::int64_t i = 0; i < n; ++i) {
        const Real expected = c.f(static_cast<Real>(x[i]));
        // gelu's second factor may be a small difference, so its error is relative to x.
        const bool cancels = c.op == Unary::gelu || c.op == Unary::gelu_tanh;
        const double size =
            static_cast<double>(std::abs(expected)) + (cancels ? std::abs(static_cast<double>(x[i])) : 0.0);
        ASSERT_NEAR(static_cast<double>(y[i]), static_cast<double>(expected), 8 * unit<T>() * size) << "x = " << x[i];
      }
    }
  }
}

TYPED_TEST(ElementwiseTest, UnaryBackwardIsTheDerivative) {
  using T = TypeParam;
  const Real step = 1e-6L;
  for (const UnaryCase& c : unary_cases()) {
    SCOPED_TRACE(c.name);
    const std::int64_t n = 1025;
    GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 2, c.low, c.high)), dy(Shape{n}, random_values<T>(n, 3)),
        y(Shape{n});
    cpu_backend().elementwise->unary(c.op, c.a, c.b, x.view(), y.view());
    const auto dx = both_writes<T>(Shape{n}, [&](Grad grad) {
      cpu_backend().elementwise->unary_backward(c.op, c.a, c.b, x.view(), y.view(), dy.view(), grad);
    });
    for (std::int64_t i = 0; i < n; ++i) {
      const Real at = static_cast<Real>(x[i]);
      const double slope = static_cast<double>((c.f(at + step) - c.f(at - step)) / (2 * step));
      const double expected = slope * static_cast<double>(dy[i]);
      const double tolerance =
          (sizeof(T) == 4 ? 1e-5 : 1e-8) * (std::abs(expected) + std::abs(static_cast<double>(dy[i])));
      ASSERT_NEAR(static_cast<double>(dx[static_cast<std::size_t>(i)]), expected, tolerance) << "x = " << x[i];
    }
  }
}

TYPED_TEST(ElementwiseTest, UnaryInPlaceAndWithAnyThreads) {
  using T = TypeParam;
  const std::int64_t n = 70001;
  for (const UnaryCase& c : unary_cases()) {
    SCOPED_TRACE(c.name);
    const auto values = random_values<T>(n, 4, c.low, c.high);
    const auto separate = for_threads([&] {
      GuardedBuffer<T> x(Shape{n}, values), y(Shape{n});
      cpu_backend().elementwise->unary(c.op, c.a, c.b, x.view(), y.view());
      return y.values();
    });
    GuardedBuffer<T> x(Shape{n}, values);
    cpu_backend().elementwise->unary(c.op, c.a, c.b, x.view(), x.view());
    EXPECT_TRUE(same_bits(separate, x.values()));
  }
}

TYPED_TEST(ElementwiseTest, SpecialValuesAndKinks) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const auto apply = [](Unary op, double a, double b, T value) {
    GuardedBuffer<T> x(Shape{1}, {value}), y(Shape{1});
    cpu_backend().elementwise->unary(op, a, b, x.view(), y.view());
    return y[0];
  };
  const auto slope = [](Unary op, double a, double b, T value) {
    GuardedBuffer<T> x(Shape{1}, {value}), y(Shape{1}), dy(Shape{1}, {T(3)}), dx(Shape{1});
    cpu_backend().elementwise->unary(op, a, b, x.view(), y.view());
    cpu_backend().elementwise->unary_backward(op, a, b, x.view(), y.view(), dy.view(), dx.grad());
    return dx[0];
  };
  for (const UnaryCase& c : unary_cases()) {
    if (c.op != Unary::pow || c.a != 0) {
      EXPECT_TRUE(std::isnan(apply(c.op, c.a, c.b, nan))) << c.name;
    }
  }
  EXPECT_EQ(apply(Unary::relu, 0, 0, inf), inf);
  EXPECT_EQ(apply(Unary::relu, 0, 0, -inf), 0);
  EXPECT_EQ(apply(Unary::clamp, -1, 1, inf), 1);
  EXPECT_EQ(apply(Unary::clamp, -1, 1, -inf), -1);
  EXPECT_EQ(apply(Unary::sigmoid, 0, 0, -inf), 0);
  EXPECT_EQ(apply(Unary::sigmoid, 0, 0, inf), 1);
  EXPECT_GT(apply(Unary::sigmoid, 0, 0, T(-88)), 0);
  EXPECT_EQ(slope(Unary::relu, 0, 0, T(0)), 0);
  EXPECT_EQ(slope(Unary::abs, 0, 0, T(0)), 0);
  EXPECT_EQ(slope(Unary::leaky_relu, 0.5, 0, T(0)), T(1.5));
  EXPECT_EQ(slope(Unary::clamp, -1, 1, T(1)), 0);  // PyTorch 2.15 counts the bounds as outside
  EXPECT_EQ(slope(Unary::clamp, -1, 1, T(-1)), 0);
  EXPECT_EQ(slope(Unary::pow, 0, 0, T(0)), 0);
}

struct BroadcastCase {
  Shape y, a, b;
};

TYPED_TEST(ElementwiseTest, BinaryBroadcasts) {
  using T = TypeParam;
  std::vector<BroadcastCase> cases{
      {{}, {}, {}},
      {{4, 3}, {4, 3}, {}},
      {{4, 3}, {1}, {4, 3}},
      {{128, 10}, {128, 10}, {10}},
      {{5, 33}, {5, 1}, {5, 33}},
      {{5, 33}, {5, 1}, {1, 33}},
      {{2, 7, 5, 3}, {2, 7, 5, 3}, {3}},
      {{2, 7, 5, 3}, {2, 1, 1, 3}, {2, 7, 5, 3}},
      {{2, 7, 5, 3}, {7, 1, 3}, {2, 1, 5, 1}},
      {{3, 1, 2, 1, 5}, {3, 1, 1, 1, 5}, {2, 1, 1}},
      {{3, 20000}, {3, 20000}, {20000}},
      {{3, 20000}, {3, 1}, {3, 20000}},
      {{3, 20000}, {1, 20000}, {3, 1}},
      {{4, 0, 3}, {4, 0, 3}, {3}},
  };
  for (const std::int64_t n : kSizes) cases.push_back({{n}, {n}, {n}});
  // The position at which an operand is read for element i of y: by the definition, index by index.
  const auto source = [](const Shape& y, const Shape& x, std::int64_t i) {
    std::int64_t at = 0, step = 1;
    for (int back = 1; back <= y.rank(); ++back) {
      const std::int64_t index = i % y[-back];
      i /= y[-back];
      if (back > x.rank()) continue;
      if (x[-back] != 1) at += index * step;
      step *= x[-back];
    }
    return at;
  };
  for (const BroadcastCase& c : cases) {
    SCOPED_TRACE(to_string(c.y) + " from " + to_string(c.a) + " and " + to_string(c.b));
    GuardedBuffer<T> a(c.a, random_values<T>(c.a.numel(), 5)), b(c.b, random_values<T>(c.b.numel(), 6, 0.5, 2));
    for (const Binary op : {Binary::add, Binary::sub, Binary::mul, Binary::div}) {
      const auto y = both_writes<T>(
          c.y, [&](Grad out) { cpu_backend().elementwise->binary(op, a.view(), b.view(), out.view, out.write); });
      for (std::int64_t i = 0; i < c.y.numel(); ++i) {
        const T u = a[source(c.y, c.a, i)], v = b[source(c.y, c.b, i)];
        const T expected = op == Binary::add ? u + v : op == Binary::sub ? u - v : op == Binary::mul ? u * v : u / v;
        ASSERT_EQ(y[static_cast<std::size_t>(i)], expected) << "element " << i;
      }
    }
  }
}

TYPED_TEST(ElementwiseTest, BinaryInPlaceAndWithAnyThreads) {
  using T = TypeParam;
  const Shape shape{300, 257};
  const auto a = random_values<T>(shape.numel(), 7), b = random_values<T>(257, 8);
  for_threads([&] {
    GuardedBuffer<T> y(shape, a), row(Shape{257}, b);
    cpu_backend().elementwise->binary(Binary::add, y.view(), row.view(), y.view());
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      EXPECT_EQ(y[i], a[static_cast<std::size_t>(i)] + b[static_cast<std::size_t>(i % 257)]);
    }
    return y.values();
  });
}

TYPED_TEST(ElementwiseTest, AxpbyAndScale) {
  using T = TypeParam;
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 50000}) {
    GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 9)), y(Shape{n});
    y.fill(std::numeric_limits<T>::quiet_NaN());
    cpu_backend().elementwise->axpby(2, x.view(), 0, y.view());  // beta 0 does not read y
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], 2 * x[i]);
    cpu_backend().elementwise->axpby(0.5, x.view(), -1, y.view());
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], T(0.5) * x[i] - 2 * x[i]);
    const double factor = 0.25;
    cpu_backend().elementwise->scale_by(y.view(), ConstView(&factor, Shape{1}, DType::f64));
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], T(0.25) * (T(0.5) * x[i] - 2 * x[i]));
    const float single = 4;
    cpu_backend().elementwise->scale_by(y.view(), ConstView(&single, Shape{}, DType::f32));
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], T(0.5) * x[i] - 2 * x[i]);
  }
}

template <class T>
void expect_fill(double value, T expected) {
  for (const std::int64_t n : kSizes) {
    GuardedBuffer<T> y(Shape{n});
    cpu_backend().elementwise->fill(y.view(), value);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], expected);
  }
}

TEST(Elementwise, FillsEveryType) {
  expect_fill<float>(1.5, 1.5F);
  expect_fill<double>(-0.1, -0.1);
  expect_fill<std::int32_t>(-7.9, -7);
  expect_fill<std::uint8_t>(255, 255);
}

template <class From, class To>
void expect_convert(const std::vector<From>& from, const std::vector<To>& to) {
  const Shape shape{static_cast<std::int64_t>(from.size())};
  GuardedBuffer<From> x(shape, from);
  GuardedBuffer<To> y(shape);
  cpu_backend().elementwise->convert(x.view(), y.view());
  for (std::size_t i = 0; i < to.size(); ++i) {
    EXPECT_EQ(y[static_cast<std::int64_t>(i)], to[i])
        << to_string(dtype_of<From>) << " to " << to_string(dtype_of<To>) << ", " << +from[i];
  }
}

TEST(Elementwise, ConvertsAsCppAndSaturatesWhatCppLeavesUndefined) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  expect_convert<double, std::int32_t>({1.9, -1.9, 1e10, -inf, nan}, {1, -1, 2147483647, -2147483647 - 1, 0});
  expect_convert<float, std::uint8_t>({0.F, 254.9F, 300.F, -3.F}, {0, 254, 255, 0});
  expect_convert<std::uint8_t, float>({0, 7, 255}, {0.F, 7.F, 255.F});
  expect_convert<std::int32_t, double>({-5, 2147483647}, {-5.0, 2147483647.0});
  expect_convert<std::int32_t, std::uint8_t>({3, 257, -1}, {3, 1, 255});
  expect_convert<double, float>({0.1, 1e300}, {0.1F, std::numeric_limits<float>::infinity()});
  expect_convert<float, float>({0.1F}, {0.1F});
}

TEST(Elementwise, Bf16RoundsToNearestEven) {
  const std::vector<float> values{1.0F,  1.00390625F, 1.01171875F,
                                  -2.5F, 3.0e38F,     std::numeric_limits<float>::infinity()};
  std::vector<cpu::Bf16> stored(values.size());
  std::vector<float> back(values.size());
  const Shape shape{static_cast<std::int64_t>(values.size())};
  cpu_backend().elementwise->convert({values.data(), shape, DType::f32}, View{stored.data(), shape, DType::bf16});
  cpu_backend().elementwise->convert({stored.data(), shape, DType::bf16}, View{back.data(), shape, DType::f32});
  EXPECT_EQ(back[0], 1.0F);
  EXPECT_EQ(back[1], 1.0F);       // 1 + 2^-8 is halfway: rounds to even
  EXPECT_EQ(back[2], 1.015625F);  // 1 + 3 * 2^-8 is halfway: rounds to even, upwards
  EXPECT_EQ(back[3], -2.5F);
  EXPECT_NEAR(back[4], 3.0e38F, 3.0e38F / 256);
  EXPECT_EQ(back[5], values[5]);
}

}  // namespace
}  // namespace descent
