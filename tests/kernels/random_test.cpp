// Random number kernels: the CPU backend's bits, whatever the size and alignment. Only normal numbers may differ, by
// the difference between the device's and the host's log, sin and cos.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "bf16.h"
#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/random/random.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::same_bits;
using test::unit;

const std::vector<std::int64_t> kLengths{0, 1, 2, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025, 6157};

// The same key for both backends; each reads the call number from its own memory.
struct Key {
  std::uint64_t seed;
  std::uint32_t stream;
  std::int32_t number;
  DeviceArray<std::int32_t> on_device{number};

  RandomKey cpu() const { return {seed, stream, {&number, {1}, DType::i32}}; }
  RandomCall gpu() const { return {seed, stream, on_device.data()}; }
};

template <class T>
class RandomKernels : public testing::Test {};
using Stored = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(RandomKernels, Stored);

TYPED_TEST(RandomKernels, Uniform) {
  using T = TypeParam;
  const Key key{0x0123456789ABCDEFU, 7, -3};
  for (const std::int64_t n : kLengths) {
    for (const auto& [low, high] : {std::pair{0.0, 1.0}, std::pair{-0.3, 0.7}, std::pair{1e-3, 3e5}}) {
      SCOPED_TRACE(testing::Message() << n << " numbers from " << low << " to " << high);
      std::vector<Wide<T>> wide(static_cast<std::size_t>(n));
      cpu::backend().random->uniform(key.cpu(), low, high, view_of(wide));
      const std::vector<T> want(wide.begin(), wide.end());
      for_schedules([&] {
        for (const int offset : {0, 1}) {
          TestStream stream;
          const DeviceArray<T> y(n, offset);
          uniform(stream, key.gpu(), low, high, y.data(), n);
          EXPECT_TRUE(same_bits(y.host(), want));
        }
      });
    }
  }
}

TYPED_TEST(RandomKernels, Normal) {
  using T = TypeParam;
  const Key key{42, 0xFFFFFFFFU, 5};
  constexpr double kMean = -0.25, kStd = 1.5;
  for (const std::int64_t n : kLengths) {
    SCOPED_TRACE(testing::Message() << n << " numbers");
    std::vector<Wide<T>> wide(static_cast<std::size_t>(n));
    cpu::backend().random->normal(key.cpu(), kMean, kStd, view_of(wide));
    const std::vector<T> want(wide.begin(), wide.end());
    for_schedules([&] {
      for (const int offset : {0, 1}) {
        TestStream stream;
        const DeviceArray<T> y(n, offset);
        normal(stream, key.gpu(), kMean, kStd, y.data(), n);
        const std::vector<T> got = y.host();
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double size = std::abs(kMean) + std::abs(static_cast<double>(want[i]) - kMean);
          ASSERT_NEAR(static_cast<double>(got[i]), static_cast<double>(want[i]),
                      stored_bound(8 * unit<Wide<T>>() * size, want[i]))
              << "element " << i;
        }
      }
    });
  }
}

template <class T>
void check_dropout(const Key& key, double p, std::vector<T> x, Write write, int offset_x, int offset_y) {
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<T> before = random_values<T>(n, 62);
  std::vector<T> want = before;
  cpu::backend().random->dropout(key.cpu(), p, view_of(x), {view_of(want), write});
  TestStream stream;
  DeviceArray<T> in(x, offset_x), y(n, offset_y);
  if (write == Write::accumulate) y.set(before);
  dropout(stream, key.gpu(), p, in.data(), y.data(), n, write);
  EXPECT_TRUE(same_bits(y.host(), want));
  if (write == Write::accumulate) return;
  dropout(stream, key.gpu(), p, in.data(), in.data(), n, write);
  EXPECT_TRUE(same_bits(in.host(), want)) << "in place";
}

TYPED_TEST(RandomKernels, Dropout) {
  using T = TypeParam;
  const Key key{99, 1, std::numeric_limits<std::int32_t>::max()};
  for (const std::int64_t n : kLengths) {
    std::vector<T> x = random_values<T>(n, 61);
    if (n > 4) {
      x[2] = T(-0.0);
      x[3] = T(std::numeric_limits<Wide<T>>::infinity());
    }
    for (const double p : {0.0, 0.3, 0.5, 0.999, 1.0}) {
      SCOPED_TRACE(testing::Message() << n << " elements, p " << p);
      for_schedules([&] {
        for (const auto& [first, second] : {std::pair{0, 0}, std::pair{1, 1}, std::pair{1, 0}, std::pair{0, 2}}) {
          check_dropout(key, p, x, Write::overwrite, first, second);
          check_dropout(key, p, x, Write::accumulate, first, second);
        }
      });
    }
  }
}

// An element is kept if p equals its uniform number, and dropped if p is the next larger number.
TYPED_TEST(RandomKernels, DropoutAtTheThreshold) {
  using T = TypeParam;
  const Key key{7, 2, 3};
  constexpr std::int64_t kElements = 9;
  const std::vector<T> x(kElements, T(1));
  std::vector<double> u(kElements);
  cpu::backend().random->uniform(key.cpu(), 0, 1, view_of(u));
  for (std::size_t i = 0; i < u.size(); ++i) {
    for (const double p : {u[i], std::nextafter(u[i], 1.0)}) {
      TestStream stream;
      const DeviceArray<T> in(x), y(kElements);
      dropout(stream, key.gpu(), p, in.data(), y.data(), kElements, Write::overwrite);
      EXPECT_EQ(y.host()[i] != T(0), p == u[i]) << "element " << i;
    }
  }
}

void check_permutation(std::int64_t n, int offset) {
  const Key key{2024, 3, 11};
  std::vector<std::int32_t> want(static_cast<std::size_t>(n));
  cpu::backend().random->permutation(key.cpu(), view_of(want));
  TestStream stream;
  const DeviceArray<std::int32_t> y(n, offset);
  permutation(stream, key.gpu(), y.data(), n);
  EXPECT_TRUE(same_bits(y.host(), want)) << "of " << n;
}

TEST(RandomKernels, Permutation) {
  for_schedules([] {
    for (const std::int64_t n : kLengths) {
      check_permutation(n, 0);
      check_permutation(n, 1);
    }
  });
  check_permutation(200001, 0);  // with so many elements, some random words are equal
}

TEST(RandomKernels, AdvanceWraps) {
  for (const std::int32_t number : {0, -1, 41, std::numeric_limits<std::int32_t>::max()}) {
    TestStream stream;
    const DeviceArray<std::int32_t> call{number};
    advance_call(stream, call.data());
    EXPECT_EQ(call.host()[0], static_cast<std::int32_t>(static_cast<std::uint32_t>(number) + 1U));
  }
}

}  // namespace
}  // namespace descent::gpu
