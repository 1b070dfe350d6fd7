// Optimizer updates: PyTorch 2.15's numbers, the fast path against the reference loops, and the nonfinite flag.
#include <gtest/gtest.h>

#include <cmath>

#include "support/cpu_kernels.h"
#include "support/optim_cases.h"

namespace descent {
namespace {

using test::Fenced;

// Gradients have a magnitude of at least 0.1: near 0 weight decay cancels them, and dividing by their own magnitude
// would amplify rounding errors.
template <class T>
Fenced<T> gradients(std::int64_t n, std::uint64_t seed) {
  auto g = test::Numbers(seed).fenced<T>(n);
  for (std::int64_t i = 0; i < n; ++i) g[i] += g[i] < 0 ? static_cast<T>(-0.1) : static_cast<T>(0.1);
  return g;
}

template <class T>
struct State {
  Fenced<T> param, grad, first, second, third;

  State(std::int64_t n, std::uint64_t seed)
      : param(test::Numbers(seed).fenced<T>(n)),
        grad(gradients<T>(n, seed + 1)),
        first(n, T{0}),
        second(n, T{0}),
        third(n, T{0}) {}
  bool fences_hold() const {
    return param.fences_hold() && grad.fences_hold() && first.fences_hold() && second.fences_hold() &&
           third.fences_hold();
  }
  friend bool same_bits(const State& a, const State& b) {
    return same_bits(a.param, b.param) && same_bits(a.first, b.first) && same_bits(a.second, b.second) &&
           same_bits(a.third, b.third);
  }
};

template <class T>
View all(Fenced<T>& f) {
  return f.view({f.size()});
}

struct Scalars {
  double lr = 0.01, step = 0, coefficients[kStepCoefficients] = {};
  std::int32_t nonfinite = 0;
  StepState state() {
    return {{&lr, {1}, DType::f64}, {&step, {1}, DType::f64}, {&nonfinite, {1}, DType::i32}, coefficients_view()};
  }
  View coefficients_view() { return {coefficients, {kStepCoefficients}, DType::f64}; }
};

// Update number scalars.step.
template <class T>
void update(const OptimRule& rule, Scalars& scalars, State<T>& x) {
  double number = scalars.step - 1;
  cpu::optim_ops()->advance(rule, scalars.state().lr, {&number, {1}, DType::f64}, scalars.coefficients_view());
  EXPECT_EQ(number, scalars.step);
  const View states[] = {all(x.first), all(x.second), all(x.third)};
  cpu::optim_ops()->update(rule, scalars.state(), all(x.param), all(x.grad), states);
}

template <class T>
class OptimKernels : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(OptimKernels, Types);

TYPED_TEST(OptimKernels, NumbersOfPyTorch) {
  constexpr double kParam[] = {0.5, -1, 2, 0.1}, kGrad[] = {0.1, -0.2, 0.3, -0.4};
  for (const bool reference : {false, true}) {
    const test::ReferenceOnly only(reference);
    for (const test::OptimCase& method : test::optim_cases()) {
      if (method.torch.empty()) continue;
      SCOPED_TRACE(method.name);
      State<TypeParam> x(4, 1);
      x.first = x.second = x.third = Fenced<TypeParam>(4, TypeParam{0});
      Scalars scalars;
      scalars.lr = method.lr;
      for (std::int64_t i = 0; i < 4; ++i) x.param[i] = static_cast<TypeParam>(kParam[i]);
      for (int t = 0; t < 3; ++t) {
        for (std::int64_t i = 0; i < 4; ++i) x.grad[i] = static_cast<TypeParam>(kGrad[i] * (t + 1) + 0.05 * t * t);
        scalars.step += 1;
        update(method.rule, scalars, x);
      }
      EXPECT_EQ(scalars.step, 3);
      EXPECT_EQ(scalars.nonfinite, 0);
      const double tolerance = std::is_same_v<TypeParam, float> ? 1e-6 : 1e-13;
      for (std::int64_t i = 0; i < 4; ++i) {
        EXPECT_NEAR(static_cast<double>(x.param[i]), method.torch[static_cast<std::size_t>(i)], tolerance) << i;
      }
    }
  }
}

TYPED_TEST(OptimKernels, FastAgreesWithThePlainLoops) {
  const double tolerance = 32 * static_cast<double>(std::numeric_limits<TypeParam>::epsilon());
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 40000}) {
    for (const test::OptimCase& method : test::optim_cases()) {
      SCOPED_TRACE(::testing::Message() << method.name << ", " << n);
      const auto run = [&] {
        State<TypeParam> x(n, 3);
        Scalars scalars;
        for (scalars.step = 1; scalars.step <= 3; ++scalars.step) {
          update(method.rule, scalars, x);
          x.grad = gradients<TypeParam>(n, static_cast<std::uint64_t>(scalars.step) + 50);
        }
        EXPECT_TRUE(x.fences_hold());
        EXPECT_EQ(scalars.nonfinite, 0);
        return x;
      };
      const auto fast = test::same_for_all_threads(run);
      const test::ReferenceOnly reference;
      const auto plain = run();
      const auto expect_close = [&](const Fenced<TypeParam>& a, const Fenced<TypeParam>& b) {
        for (std::int64_t i = 0; i < n; ++i) {
          const double expected = static_cast<double>(b[i]);
          ASSERT_NEAR(static_cast<double>(a[i]), expected, tolerance * (1 + std::abs(expected))) << i;
        }
      };
      expect_close(fast.param, plain.param);
      expect_close(fast.first, plain.first);
      expect_close(fast.second, plain.second);
      expect_close(fast.third, plain.third);
    }
  }
}

TYPED_TEST(OptimKernels, FirstStepDoesNotReadTheMomentum) {
  State<TypeParam> x(33, 2);
  x.first = Fenced<TypeParam>(33);  // NaN
  Scalars scalars;
  scalars.step = 1;
  update(Sgd{0.9, 0.5, 0, false}, scalars, x);
  for (std::int64_t i = 0; i < 33; ++i) EXPECT_EQ(x.first[i], x.grad[i]);
}

TYPED_TEST(OptimKernels, FlagsGradientsThatAreNotFinite) {
  using Limits = std::numeric_limits<TypeParam>;
  for (const bool reference : {false, true}) {
    const test::ReferenceOnly only(reference);
    for (const test::OptimCase& method : test::optim_cases()) {
      for (const TypeParam bad : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
        for (const std::int64_t place : {0, 31, 32, 1024, 39999}) {
          State<TypeParam> x(40000, 3);
          Scalars scalars;
          scalars.step = 1;
          x.grad[place] = bad;
          update(method.rule, scalars, x);
          EXPECT_EQ(scalars.nonfinite, 1) << method.name << " " << bad << " at " << place;
        }
      }
      State<TypeParam> x(33, 3);
      Scalars scalars;
      scalars.step = 1;
      x.grad[4] = Limits::max();
      update(method.rule, scalars, x);
      // The largest number is finite. If its square or sum is not, the parameter may become NaN, and the flag must
      // report that.
      EXPECT_EQ(scalars.nonfinite, std::isfinite(x.param[4]) ? 0 : 1) << method.name;
      if (std::string_view(method.name) == "sgd" || std::string_view(method.name) == "adam") {
        EXPECT_EQ(scalars.nonfinite, 0) << method.name;
      }
    }
  }
}

TYPED_TEST(OptimKernels, FlagsUpdatedParametersThatAreNotFinite) {
  using Limits = std::numeric_limits<TypeParam>;
  for (const bool reference : {false, true}) {
    const test::ReferenceOnly only(reference);
    for (const test::OptimCase& method : test::optim_cases()) {
      for (const TypeParam bad : {Limits::infinity(), Limits::quiet_NaN()}) {
        for (const std::int64_t at : {0, 31, 32}) {
          State<TypeParam> x(33, 3);
          Scalars scalars;
          scalars.step = 1;
          x.param[at] = bad;
          update(method.rule, scalars, x);
          EXPECT_EQ(scalars.nonfinite, 1) << method.name << " " << bad << " at " << at;
        }
      }
    }
  }
}

// If a gradient never changes, the average of squares and the square of the average differ only by rounding, with
// either sign (PyTorch 2.15 gives NaN here). A NaN in the averages must not look like a variance of 0.
TYPED_TEST(OptimKernels, CenteredRmsPropOnAConstantGradient) {
  for (const bool reference : {false, true}) {
    const test::ReferenceOnly only(reference);
    for (const double momentum : {0.0, 0.9}) {
      State<TypeParam> x(70, 3);
      for (std::int64_t i = 0; i < 70; ++i) x.grad[i] = static_cast<TypeParam>(0.1 * static_cast<double>(i + 1));
      Scalars scalars;
      const auto next = [&] { update(RmsProp{0.9, 1e-8, 0, momentum, true}, scalars, x); };
      for (scalars.step = 1; scalars.step <= 1000; ++scalars.step) next();
      for (std::int64_t i = 0; i < 70; ++i) ASSERT_TRUE(std::isfinite(x.param[i])) << i << " of " << momentum;
      EXPECT_EQ(scalars.nonfinite, 0);
      x.first[5] = std::numeric_limits<TypeParam>::quiet_NaN();
      next();
      EXPECT_TRUE(std::isnan(x.param[5]));
      EXPECT_EQ(scalars.nonfinite, 1);
    }
  }
}

TEST(OptimClip, FactorIsAtMostOneAndKeepsNaN) {
  const auto factor = [](double sum_of_squares, double max_norm) {
    double result = -1;
    cpu::optim_ops()->clip_factor({&sum_of_squares, {1}, DType::f64}, max_norm, {&result, {1}, DType::f64});
    return result;
  };
  EXPECT_EQ(factor(0, 1), 1);
  EXPECT_EQ(factor(0.25, 1), 1);
  EXPECT_DOUBLE_EQ(factor(16, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(factor(std::numeric_limits<double>::infinity(), 1), 0);
  EXPECT_TRUE(std::isnan(factor(std::numeric_limits<double>::quiet_NaN(), 1)));
}

}  // namespace
}  // namespace descent
