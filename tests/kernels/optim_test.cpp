// Kernels of the optimizers, against the CPU's plain loops over several steps: the same bits where neither compiler
// contracts, some units where nvcc does.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "backend_test.h"
#include "device_array.h"

#include "cuda/kernels/optim.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::same_bits;
using test::unit;

const std::vector<std::int64_t> kLengths{0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025, 3079};
constexpr int kSteps = 3;

// Gradients of at least 0.1: where weight decay nearly cancels them, dividing by their size would magnify rounding.
template <class T>
std::vector<T> gradients(std::int64_t n, unsigned seed) {
  std::vector<T> g = random_values<T>(n, seed);
  for (T& value : g) value += value < 0 ? T(-0.1) : T(0.1);
  return g;
}

template <class T>
struct OnCpu {
  std::vector<T> param, first, second, third;
  double lr = 0.01, step = 0, rates[3] = {};  // as advance() left them
  std::int32_t nonfinite = 0;

  explicit OnCpu(std::int64_t n)
      : param(random_values<T>(n, 71)), first(param.size()), second(param.size()), third(param.size()) {}
  View number() { return {&step, {1}, DType::f64}; }
  View made() { return {rates, {3}, DType::f64}; }
  StepState state() { return {{&lr, {1}, DType::f64}, number(), {&nonfinite, {1}, DType::i32}, made()}; }
  static View view(std::vector<T>& v) { return {v.data(), Shape{static_cast<std::int64_t>(v.size())}, dtype_of<T>}; }
};

struct Offsets {  // of each buffer, in elements from a 16-byte boundary
  int param = 0, grad = 0, first = 0, second = 0, third = 0;
};

template <class T>
struct OnDevice {
  DeviceArray<T> param, first, second, third;
  DeviceArray<double> lr, step, rates;
  DeviceArray<std::int32_t> nonfinite;

  OnDevice(const OnCpu<T>& c, const Offsets& at)
      : param(c.param, at.param),
        first(c.first, at.first),
        second(c.second, at.second),
        third(c.third, at.third),
        lr({c.lr}),
        step({c.step}),
        rates(std::vector<double>(3)),
        nonfinite({c.nonfinite}) {}
  OptimStep state() const { return {lr.data(), step.data(), nonfinite.data(), rates.data()}; }
};

template <class T>
struct Method {
  const char* name;
  std::function<void(OnCpu<T>&, ConstView grad)> on_cpu;
  std::function<void(Queue&, OnDevice<T>&, const T* grad)> on_device;
};

template <class T>
Method<T> sgd_method(const char* name, const Sgd& o) {
  return {name,
          [o](OnCpu<T>& c, ConstView grad) {
            cpu::backend().optim->advance(c.number());
            cpu::backend().optim->sgd(o, c.state(), c.view(c.param), grad, o.momentum != 0 ? c.view(c.first) : View());
          },
          [o](Queue& q, OnDevice<T>& d, const T* grad) {
            advance_step(q, d.step.data());
            sgd(q, o, d.state(), d.param.size(), d.param.data(), grad, o.momentum != 0 ? d.first.data() : nullptr);
          }};
}

template <class T>
Method<T> rmsprop_method(const char* name, const RmsProp& o) {
  return {name,
          [o](OnCpu<T>& c, ConstView grad) {
            cpu::backend().optim->advance(c.number());
            cpu::backend().optim->rmsprop(o, c.state(), c.view(c.param), grad, c.view(c.first), c.view(c.second),
                                          c.view(c.third));
          },
          [o](Queue& q, OnDevice<T>& d, const T* grad) {
            advance_step(q, d.step.data());
            rmsprop(q, o, d.state(), d.param.size(), d.param.data(), grad, d.first.data(), d.second.data(),
                    d.third.data());
          }};
}

template <class T>
Method<T> adam_method(const char* name, const Adam& o) {
  return {name,
          [o](OnCpu<T>& c, ConstView grad) {
            cpu::backend().optim->advance_adam(o, c.state().lr, c.number(), c.made());
            cpu::backend().optim->adam(o, c.state(), c.view(c.param), grad, c.view(c.first), c.view(c.second));
          },
          [o](Queue& q, OnDevice<T>& d, const T* grad) {
            advance_adam(q, o, d.lr.data(), d.step.data(), d.rates.data());
            adam(q, o, d.state(), d.param.size(), d.param.data(), grad, d.first.data(), d.second.data());
          }};
}

template <class T>
std::vector<Method<T>> methods() {
  return {sgd_method<T>("sgd", {}),
          sgd_method<T>("sgd with decay", {0, 0, 0.01, false}),
          sgd_method<T>("sgd with momentum", {0.9, 0, 0, false}),
          sgd_method<T>("sgd with damped momentum and decay", {0.9, 0.25, 0.01, false}),
          sgd_method<T>("sgd, Nesterov", {0.9, 0, 0.01, true}),
          rmsprop_method<T>("rmsprop", {}),
          rmsprop_method<T>("rmsprop with momentum", {0.9, 1e-6, 0.01, 0.8, false}),
          rmsprop_method<T>("rmsprop, centered", {0.99, 1e-8, 0, 0, true}),
          rmsprop_method<T>("rmsprop, centered, with momentum", {0.9, 1e-6, 0.01, 0.8, true}),
          adam_method<T>("adam", {}),
          adam_method<T>("adam with decay", {0.8, 0.99, 1e-6, 0.01, false}),
          adam_method<T>("adamw", {0.9, 0.999, 1e-8, 0.05, true})};
}

// The CPU's plain loops while it lives.
struct PlainLoops {
  PlainLoops() { cpu::set_reference_only(true); }
  ~PlainLoops() { cpu::set_reference_only(false); }
  PlainLoops(const PlainLoops&) = delete;
  PlainLoops& operator=(const PlainLoops&) = delete;
};

// `before` is what the last step began with: a term of the sums that make `want`.
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
void check_method(const Method<T>& method, std::int64_t n, const Offsets& at) {
  SCOPED_TRACE(testing::Message() << method.name << ", " << n << " elements, offsets " << at.param << at.grad
                                  << at.first << at.second << at.third);
  const PlainLoops plain;
  TestQueue q;
  OnCpu<T> c(n);
  OnDevice<T> d(c, at);
  OnCpu<T> before = c;
  for (unsigned step = 0; step < kSteps; ++step) {
    std::vector<T> g = gradients<T>(n, 72 + step);
    const DeviceArray<T> grad(g, at.grad);
    before = c;
    method.on_cpu(c, c.view(g));
    method.on_device(q, d, grad.data());
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
    for (const Method<TypeParam>& method : methods<TypeParam>()) {
      for (const std::int64_t n : kLengths) {
        check_method(method, n, Offsets{});
        check_method(method, n, Offsets{1, 1, 1, 1, 1});
      }
      for (const Offsets& one :
           {Offsets{1}, Offsets{0, 1}, Offsets{0, 0, 1}, Offsets{0, 0, 0, 1}, Offsets{0, 0, 0, 0, 1}}) {
        check_method(method, 33, one);
      }
    }
  });
}

TYPED_TEST(OptimKernels, FlagGradientsThatAreNotFinite) {
  using T = TypeParam;
  const T bad[] = {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                   -std::numeric_limits<T>::infinity()};
  for (const Method<T>& method : methods<T>()) {
    SCOPED_TRACE(method.name);
    for (const std::int64_t n : {1, 6, 1025, 3079}) {
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
        TestQueue q;
        OnDevice<T> d(OnCpu<T>(n), Offsets{});
        const std::vector<T> fine = gradients<T>(n, 72);
        DeviceArray<T> grad(fine);
        method.on_device(q, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 0);
        std::vector<T> g = fine;
        g[static_cast<std::size_t>(at)] = bad[static_cast<std::size_t>(at) % 3];
        grad.set(g);
        method.on_device(q, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "element " << at << " of " << n;
        grad.set(fine);
        method.on_device(q, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "the flag stays";
      }
    }
  }
}

TYPED_TEST(OptimKernels, FlagUpdatedParametersThatAreNotFinite) {
  using T = TypeParam;
  for (const Method<T>& method : methods<T>()) {
    SCOPED_TRACE(method.name);
    for (const std::int64_t n : {1, 6, 1025}) {
      for (const std::int64_t at : {std::int64_t{0}, n - 1}) {
        TestQueue q;
        OnCpu<T> c(n);
        c.param[static_cast<std::size_t>(at)] = std::numeric_limits<T>::infinity();
        OnDevice<T> d(c, Offsets{});
        const DeviceArray<T> grad(gradients<T>(n, 72));
        method.on_device(q, d, grad.data());
        EXPECT_EQ(d.nonfinite.host()[0], 1) << "element " << at << " of " << n;
      }
    }
  }
}

// The variance of a gradient that does not change is rounding, below 0 as often as above.
TYPED_TEST(OptimKernels, CenteredRmsPropOnAConstantGradient) {
  using T = TypeParam;
  std::vector<T> g;
  for (int i = 1; i <= 21; ++i) g.push_back(static_cast<T>(0.1 * i));
  for (const double momentum : {0.0, 0.9}) {
    TestQueue q;
    OnDevice<T> d(OnCpu<T>(21), Offsets{});
    const Method<T> method = rmsprop_method<T>("rmsprop", {0.9, 1e-8, 0, momentum, true});
    const DeviceArray<T> grad(g);
    for (int step = 0; step < 400; ++step) method.on_device(q, d, grad.data());
    for (const T value : d.param.host()) EXPECT_TRUE(std::isfinite(value));
    EXPECT_EQ(d.nonfinite.host()[0], 0);
    std::vector<T> squares = d.first.host();
    squares[3] = std::numeric_limits<T>::quiet_NaN();
    d.first.set(squares);
    method.on_device(q, d, grad.data());
    EXPECT_TRUE(std::isnan(d.param.host()[3])) << "a NaN is no variance of 0";
  }
}

TYPED_TEST(OptimKernels, WorkWithoutAFlag) {
  using T = TypeParam;
  TestQueue q;
  OnDevice<T> d(OnCpu<T>(9), Offsets{});
  const DeviceArray<T> grad(std::vector<T>(9, std::numeric_limits<T>::quiet_NaN()));
  sgd(q, Sgd{}, {d.lr.data(), d.step.data(), nullptr, nullptr}, 9, d.param.data(), grad.data(),
      static_cast<T*>(nullptr));
  for (const T value : d.param.host()) EXPECT_TRUE(std::isnan(value));
}

// The powers' rounding is the device's own: a few units.
TEST(OptimKernels, RatesOfAdam) {
  for (const bool decoupled : {false, true}) {
    const Adam o{0.9, 0.999, 1e-8, 0.05, decoupled};
    for (const double before : {0.0, 1.0, 7.0, 12345.0, 1e9}) {
      OnCpu<double> c(1);
      c.step = before;
      OnDevice<double> d(c, Offsets{});
      TestQueue q;
      cpu::backend().optim->advance_adam(o, c.state().lr, c.number(), c.made());
      advance_adam(q, o, d.lr.data(), d.step.data(), d.rates.data());
      EXPECT_EQ(d.step.host()[0], before + 1);
      for (std::size_t i = 0; i < 3; ++i) {
        // 1 - beta^step keeps 1 - beta, at least, of 1: rounding grows by its inverse.
        EXPECT_NEAR(d.rates.host()[i], c.rates[i], 8 * unit<double>() / (1 - o.beta2) * c.rates[i])
            << before << " " << i;
      }
      EXPECT_EQ(c.rates[2], decoupled ? 1 - 0.01 * 0.05 : 1);
    }
  }
}

TEST(OptimKernels, ClipFactor) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const double sum : {0.0, 1e-30, 0.25, 100.0, 1e300, infinity, nan}) {
    for (const double norm : {1.0, 0.5, 1e-3}) {
      double want = 0, of = sum;
      cpu::backend().optim->clip_factor({&of, {1}, DType::f64}, norm, {&want, {1}, DType::f64});
      TestQueue q;
      const DeviceArray<double> in{sum}, out(1);
      clip_factor(q, in.data(), norm, out.data());
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
