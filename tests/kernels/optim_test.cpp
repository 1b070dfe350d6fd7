// Optimizer kernels against the CPU's reference loops over several steps: the same bits if neither compiler fuses
// products with sums, a few units if nvcc does.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <variant>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"
#include "support/optim_cases.h"
#include "support/reference_only.h"

#include "cuda/optim/optim.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::same_bits;
using test::unit;

const std::vector<std::int64_t> kLengths{0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025, 3079};
constexpr int kSteps = 3;

// Magnitudes of at least 0.1: if weight decay nearly cancels a gradient, dividing by its size would amplify rounding.
template <class T>
std::vector<T> gradients(std::int64_t n, unsigned seed) {
  std::vector<T> g = random_values<T>(n, seed);
  for (T& value : g) value += value < 0 ? T(-0.1) : T(0.1);
  return g;
}

template <class T>
struct OnCpu {
  std::vector<T> param, first, second, third;
  double lr = 0.01, step = 0, coefficients[kStepCoefficients] = {};  // as left by advance()
  std::int32_t nonfinite = 0;

  explicit OnCpu(std::int64_t n)
      : param(random_values<T>(n, 71)), first(param.size()), second(param.size()), third(param.size()) {}
  View number() { return {&step, {1}, DType::f64}; }
  View made() { return {coefficients, {kStepCoefficients}, DType::f64}; }
  StepState state() { return {{&lr, {1}, DType::f64}, number(), {&nonfinite, {1}, DType::i32}, made()}; }
  static View view(std::vector<T>& v) { return {v.data(), Shape{static_cast<std::int64_t>(v.size())}, dtype_of<T>}; }
};

struct Offsets {  // of each buffer, in elements after a 16-byte boundary
  int param = 0, grad = 0, first = 0, second = 0, third = 0;
};

template <class T>
struct OnDevice {
  DeviceArray<T> param, first, second, third;
  DeviceArray<double> lr, step, coefficients;
  DeviceArray<std::int32_t> nonfinite;

  OnDevice(const OnCpu<T>& c, const Offsets& at)
      : param(c.param, at.param),
        first(c.first, at.first),
        second(c.second, at.second),
        third(c.third, at.third),
        lr({c.lr}),
        step({c.step}),
        coefficients(std::vector<double>(kStepCoefficients)),
        nonfinite({c.nonfinite}) {}
  StepState state() const {
    return {{lr.data(), {1}, DType::f64},
            {step.data(), {1}, DType::f64},
            {nonfinite.data(), {1}, DType::i32},
            {coefficients.data(), {kStepCoefficients}, DType::f64}};
  }
};

template <class T>
void step_on_cpu(const OptimRule& rule, OnCpu<T>& c, ConstView grad) {
  cpu::backend().optim->advance(rule, c.state().lr, c.number(), c.made());
  const View states[] = {c.view(c.first), c.view(c.second), c.view(c.third)};
  cpu::backend().optim->update(rule, c.state(), c.view(c.param), grad, states);
}

template <class T>
void step_on_device(const OptimRule& rule, Stream& stream, OnDevice<T>& d, const T* grad) {
  std::visit(
      [&](const auto& o) {
        advance(stream, o, d.lr.data(), d.step.data(), d.coefficients.data());
        const OptimStates<T> states{{d.first.data(), d.second.data(), d.third.data()}};
        optim_update(stream, o, d.state(), d.param.size(), d.param.data(), grad, states);
      },
      rule);
}

// `before` holds the values before the last step, a term of the sums that produce `want`.
template <class T>
void expect_near(const std::vector<T>& got, const std::vector<T>& want, const std::vector<T>& before,
                 const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double a = static_cast<double>(want[i]), b = static_cast<double>(before[i]);
    ASSERT_NEAR(static_cast<double>(got[i]), a, 8 * kSteps * unit<T>() * (std::abs(a) + std::abs(a - b)))
        << what << ", element " << i;
  }
}

template <class T>
class OptimKernels : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(OptimKernels, Floating);

template <class T>
void check_method(const test::OptimCase& method, std::int64_t n, const Offsets& at) {
  SCOPED_TRACE(testing::Message() << method.name << ", " << n << " elements, offsets " << at.param << at.grad
                                  << at.first << at.second << at.third);
  const test::ReferenceOnly plain;
  TestStream stream;
  OnCpu<T> c(n);
  OnDevice<T> d(c, at);
  OnCpu<T> before = c;
  for (unsigned step = 0; step < kSteps; ++step) {
    std::vector<T> g = gradients<T>(n, 72 + step);
    const DeviceArray<T> grad(g, at.grad);
    before = c;
    step_on_cpu(method.rule, c, c.view(g));
    step_on_device(method.rule, stream, d, grad.data());
  }
  EXPECT_EQ(d.step.host()[0], c.step);
  EXPECT_EQ(d.nonfinite.host()[0], 0);
  expect_near(d.param.host(), c.param, before.param, "parameter");
  expect_near(d.first.host(), c.first, before.first, "first state");
  expect_near(d.second.host(), c.second, before.second, "second state");
  expect_near(d.third.host(), c.third, before.third, "third state");
}

TYPED_TEST(OptimKernels, AgreeWithThePlainLoops) {
  for_schedules([] {
    for (const test::OptimCase& method : test::optim_cases()) {
      for (const std::int64_t n : kLengths) {
        check_method<TypeParam>(method, n, Offsets{});
        check_method<TypeParam>(method, n, Offsets{1, 1, 1, 1, 1});
      }
      for (const Offsets& one :
           {Offsets{1}, Offsets{0, 1}, Offsets{0, 0, 1}, Offsets{0, 0, 0, 1}, Offsets{0, 0, 0, 0, 1}}) {
        check_method<TypeParam>(method, 33, one);
      }
    }
  });
}

TYPED_TEST(OptimKernels, FlagGradientsThatAreNotFinite) {
  using T = TypeParam;
  const T bad[] = {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                   -std::numeric_limits<T>::infinity()};
  for (const test::OptimCase& method : test::optim_cases()) {
    SCOPED_TRACE(method.name);
    for (const std::int64_t n : {1, 6, 1025, 3079}) {
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
        TestStream stream;
        OnDevice<T> d(OnCpu<T>(n), Offsets{});
        const std::vector<T> fine = gradients<T>(n, 72);
        DeviceArray<T> grad(fine);
        step_on_device(method.rule, stream, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 0);
        std::vector<T> g = fine;
        g[static_cast<std::size_t>(at)] = bad[static_cast<std::size_t>(at) % 3];
        grad.set(g);
        step_on_device(method.rule, stream, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "element " << at << " of " << n;
        grad.set(fine);
        step_on_device(method.rule, stream, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "the flag stays";
      }
    }
  }
}

TYPED_TEST(OptimKernels, FlagUpdatedParametersThatAreNotFinite) {
  using T = TypeParam;
  for (const test::OptimCase& method : test::optim_cases()) {
    SCOPED_TRACE(method.name);
    for (const std::int64_t n : {1, 6, 1025}) {
      for (const std::int64_t at : {std::int64_t{0}, n - 1}) {
        TestStream stream;
        OnCpu<T> c(n);
        c.param[static_cast<std::size_t>(at)] = std::numeric_limits<T>::infinity();
        OnDevice<T> d(c, Offsets{});
        const DeviceArray<T> grad(gradients<T>(n, 72));
        step_on_device(method.rule, stream, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "element " << at << " of " << n;
      }
    }
  }
}

// The variance of a constant gradient is pure rounding error, of either sign.
TYPED_TEST(OptimKernels, CenteredRmsPropOnAConstantGradient) {
  using T = TypeParam;
  std::vector<T> g;
  for (int i = 1; i <= 21; ++i) g.push_back(static_cast<T>(0.1 * i));
  for (const double momentum : {0.0, 0.9}) {
    TestStream stream;
    OnDevice<T> d(OnCpu<T>(21), Offsets{});
    const RmsProp rule{0.9, 1e-8, 0, momentum, true};
    const DeviceArray<T> grad(g);
    for (int step = 0; step < 400; ++step) step_on_device<T>(rule, stream, d, grad.data());
    for (const T value : d.param.host()) EXPECT_TRUE(std::isfinite(value));
    EXPECT_EQ(d.nonfinite.host()[0], 0);
    std::vector<T> squares = d.first.host();
    squares[3] = std::numeric_limits<T>::quiet_NaN();
    d.first.set(squares);
    step_on_device<T>(rule, stream, d, grad.data());
    EXPECT_TRUE(std::isnan(d.param.host()[3])) << "a NaN is no variance of 0";
  }
}

TYPED_TEST(OptimKernels, WorkWithoutAFlag) {
  using T = TypeParam;
  TestStream stream;
  OnDevice<T> d(OnCpu<T>(9), Offsets{});
  const DeviceArray<T> grad(std::vector<T>(9, std::numeric_limits<T>::quiet_NaN()));
  StepState without = d.state();
  without.nonfinite = {};
  optim_update(stream, Sgd{}, without, 9, d.param.data(), grad.data(), OptimStates<T>{});
  for (const T value : d.param.host()) EXPECT_TRUE(std::isnan(value));
}

// The device's powers round differently, by a few units.
TEST(OptimKernels, RatesOfAdam) {
  for (const bool decoupled : {false, true}) {
    const Adam o{0.9, 0.999, 1e-8, 0.05, decoupled};
    for (const double before : {0.0, 1.0, 7.0, 12345.0, 1e9}) {
      OnCpu<double> c(1);
      c.step = before;
      OnDevice<double> d(c, Offsets{});
      TestStream stream;
      cpu::backend().optim->advance(o, c.state().lr, c.number(), c.made());
      advance(stream, o, d.lr.data(), d.step.data(), d.coefficients.data());
      EXPECT_EQ(d.step.host()[0], before + 1);
      for (std::size_t i = 0; i < 3; ++i) {
        // 1 - beta^step is at least 1 - beta: the rounding error of 1 grows by at most the inverse of that.
        EXPECT_NEAR(d.coefficients.host()[i], c.coefficients[i], 8 * unit<double>() / (1 - o.beta2) * c.coefficients[i])
            << before << " " << i;
      }
      EXPECT_EQ(c.coefficients[2], decoupled ? 1 - 0.01 * 0.05 : 1);
    }
  }
}

TEST(OptimKernels, ClipFactor) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const double sum : {0.0, 1e-30, 0.25, 100.0, 1e300, infinity, nan}) {
    for (const double norm : {1.0, 0.5, 1e-3}) {
      double want = 0, of = sum;
      cpu::backend().optim->clip_factor({&of, {1}, DType::f64}, norm, {&want, {1}, DType::f64});
      TestStream stream;
      const DeviceArray<double> in{sum}, out(1);
      clip_factor(stream, in.data(), norm, out.data());
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(out.host()[0]));
      } else {
        EXPECT_EQ(out.host()[0], want) << "sum " << sum << ", norm " << norm;
      }
    }
  }
}

}  // namespace
}  // namespace descent::gpu
