// mse and bce_with_logits on a device against the CPU's: one block and several, all reductions, with and without a
// gradient, infinities and NaN.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/loss/pairwise.cuh"

namespace descent::gpu {
namespace {

using test::cpu_backend;
using test::random_values;
using test::same_bits;
using test::unit;

template <class T>
struct Losses {
  std::vector<T> loss, dx;
};

template <class T>
Losses<T> on_cpu(bool logistic, Reduction reduction, const std::vector<T>& x, const std::vector<T>& target) {
  const Shape shape{static_cast<std::int64_t>(x.size())};
  const Shape of_loss{reduction == Reduction::none ? shape.numel() : 1};
  Losses<T> all{std::vector<T>(static_cast<std::size_t>(of_loss.numel())), std::vector<T>(x.size())};
  if (all.loss.empty()) return all;
  const ConstView px(x.data(), shape, dtype_of<T>), pt(target.data(), shape, dtype_of<T>);
  const View loss{all.loss.data(), of_loss, dtype_of<T>}, dx{all.dx.data(), shape, dtype_of<T>};
  if (logistic) {
    cpu_backend().loss->bce_with_logits(reduction, px, pt, loss, dx);
  } else {
    cpu_backend().loss->mse(reduction, px, pt, loss, dx);
  }
  return all;
}

template <class T>
Losses<T> on_device(bool logistic, Reduction reduction, const std::vector<T>& x, const std::vector<T>& target,
                    int offset, bool gradient) {
  TestStream stream;
  const auto n = static_cast<std::int64_t>(x.size());
  const DeviceArray<T> x_at(x, offset), target_at(target, offset);
  DeviceArray<T> loss(reduction == Reduction::none ? n : 1, offset), dx(n, offset);
  (logistic ? bce_with_logits<T> : mse<T>)(stream, reduction, x_at.data(), target_at.data(), n, loss.data(),
                                           gradient ? dx.data() : nullptr);
  return {loss.host(), dx.host()};
}

template <class T>
void expect_close(const std::vector<T>& got, const std::vector<T>& want, double relative, double absolute) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]))) continue;
    ASSERT_NEAR(got[i], want[i], relative * std::abs(static_cast<double>(want[i])) + absolute) << "element " << i;
  }
}

// Losses are sums of terms of one sign, built from an exponential and a logarithm within 4 ulp; a slope is a rounded
// difference of numbers up to `size`, times the scale.
template <class T>
void check(const std::vector<T>& x, const std::vector<T>& target, int offset, double size) {
  for (const bool logistic : {false, true}) {
    for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
      SCOPED_TRACE(std::to_string(x.size()) + " elements at " + std::to_string(offset) +
                   (logistic ? ", bce" : ", mse") + ", reduction " + std::to_string(static_cast<int>(reduction)));
      const Losses<T> want = on_cpu(logistic, reduction, x, target);
      const Losses<T> got = on_device(logistic, reduction, x, target, offset, true);
      const double scale = reduction == Reduction::mean ? 1.0 / static_cast<double>(x.size()) : 1;
      expect_close(got.loss, want.loss, 24 * unit<T>(), 0);
      expect_close(got.dx, want.dx, 4 * unit<T>(), x.empty() ? 0 : 16 * unit<T>() * size * scale);
      EXPECT_TRUE(same_bits(on_device(logistic, reduction, x, target, offset, false).loss, got.loss));
    }
  }
}

template <class T>
void check_sizes() {
  for (const std::int64_t n : {0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025, 4096, 4097, 7001}) {
    for (const int offset : {0, 1}) {
      check(random_values<T>(n, 1, -6, 6), random_values<T>(n, 2, 0, 1), offset, 1);
    }
  }
}

TEST(PairwiseLossKernels, AllSizes) {
  check_sizes<float>();
  check_sizes<double>();
}

template <class T>
void check_special() {
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x{inf, inf, inf, -inf, -inf, nan, 0, T(1e4), T(-1e4), T(1e30), T(-1e30), T(88.73), T(-88.73)};
  const std::vector<T> target{1, 0, T(0.5), 0, 1, 1, T(0.5), 1, 1, 0, 1, 0, 1};
  check(x, target, 0, 1);
}

TEST(PairwiseLossKernels, Infinities) {
  check_special<float>();
  check_special<double>();
}

TEST(PairwiseLossKernels, Schedules) {
  const std::vector<float> x = random_values<float>(5000, 3, -4, 4), target = random_values<float>(5000, 4, 0, 1);
  std::vector<float> first;
  for_schedules([&] {
    const Losses<float> got = on_device(true, Reduction::mean, x, target, 0, true);
    if (first.empty()) first = got.loss;
    EXPECT_TRUE(same_bits(got.loss, first));
    EXPECT_TRUE(same_bits(on_device(true, Reduction::mean, x, target, 1, true).loss, first));
  });
}

}  // namespace
}  // namespace descent::gpu
