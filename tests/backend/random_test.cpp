// Random numbers: published Philox4x32-10 vectors, the mapping from elements to words, distributions and masks.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "core/philox.h"
#include "cpu/random/kernels.h"
#include "support/backend_test.h"
#include "support/reference_only.h"

namespace descent {
namespace {

using namespace descent::test;

struct Key {
  std::int32_t call;
  RandomKey key;

  explicit Key(std::uint64_t seed, std::uint32_t stream = 0, std::int32_t call_ = 0)
      : call(call_), key{seed, stream, ConstView(&call, Shape{1}, DType::i32)} {}
};

TEST(Random, PhiloxGivesThePublishedWords) {
  // Known answers from Random123's distribution: the counter's words are (number low, number high, call, stream).
  const philox::Block zeros = philox::block(0, 0, 0, 0);
  EXPECT_EQ((std::vector<std::uint32_t>(zeros.word, zeros.word + 4)),
            (std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const philox::Block ones = philox::block(~std::uint64_t{0}, ~0U, ~0U, ~std::uint64_t{0});
  EXPECT_EQ((std::vector<std::uint32_t>(ones.word, ones.word + 4)),
            (std::vector<std::uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // The vectorized loop produces the same words at any position of a block in its run.
  std::array<std::uint32_t, 4 * 21> run{};
  cpu::random_kernels().words({0, 0, 0}, 0, 21, run.data());
  EXPECT_TRUE(std::equal(zeros.word, zeros.word + 4, run.begin()));
  cpu::random_kernels().words({~std::uint64_t{0}, ~0U, ~0U}, ~std::uint64_t{0} - 20, 21, run.data());
  EXPECT_TRUE(std::equal(ones.word, ones.word + 4, run.begin() + 80));
}

TEST(Random, VectorizedWordsAreThoseOfTheReference) {
  const cpu::PhiloxCall call{0x0123456789ABCDEFU, 0xDEADBEEFU, 77};
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{5}, (std::uint64_t{1} << 32) - 6}) {
    for (std::int64_t blocks = 0; blocks < 40; ++blocks) {
      GuardedBuffer<std::int32_t> out(Shape{4 * blocks});
      cpu::random_kernels().words(call, first, blocks, reinterpret_cast<std::uint32_t*>(out.data()));
      for (std::int64_t b = 0; b < blocks; ++b) {
        const philox::Block block =
            philox::block(call.seed, call.stream, call.call, first + static_cast<std::uint64_t>(b));
        for (int w = 0; w < 4; ++w) ASSERT_EQ(static_cast<std::uint32_t>(out[4 * b + w]), block.word[w]);
      }
    }
  }
}

template <class T>
class RandomTest : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(RandomTest, Floating);

TYPED_TEST(RandomTest, ElementsDrawTheirOwnWords) {
  using T = TypeParam;
  const Key k(42, 3, 9);
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 20001}) {
    GuardedBuffer<T> uniform(Shape{n}), normal(Shape{n});
    cpu_backend().random->uniform(k.key, -2, 6, uniform.view());
    cpu_backend().random->normal(k.key, 1, 0.5, normal.view());
    for (std::int64_t i = 0; i < n; ++i) {
      const auto index = static_cast<std::uint64_t>(i);
      ASSERT_EQ(uniform[i], static_cast<T>(-2 + 8 * philox::uniform<double>(philox::word(42, 3, 9, index))));
      double pair[2];
      philox::normal_pair(philox::word(42, 3, 9, index / 2 * 2), philox::word(42, 3, 9, index / 2 * 2 + 1), pair[0],
                          pair[1]);
      ASSERT_EQ(normal[i], static_cast<T>(1 + 0.5 * pair[i % 2]));
    }
  }
}

TYPED_TEST(RandomTest, MomentsAreThoseOfTheDistribution) {
  using T = TypeParam;
  const std::int64_t n = 1000000;
  const Key k(7);
  const auto moments = [](const std::vector<T>& x) {
    double mean = 0, square = 0;
    for (const T value : x) mean += static_cast<double>(value);
    mean /= static_cast<double>(x.size());
    for (const T value : x) square += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
    return std::pair(mean, square / static_cast<double>(x.size()));
  };
  GuardedBuffer<T> x(Shape{n});
  cpu_backend().random->uniform(k.key, 0, 1, x.view());
  const auto values = x.values();
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 1);
  EXPECT_NEAR(moments(values).first, 0.5, 0.0015);  // five standard errors
  EXPECT_NEAR(moments(values).second, 1.0 / 12, 0.0004);
  cpu_backend().random->normal(k.key, -1, 2, x.view());
  EXPECT_NEAR(moments(x.values()).first, -1, 0.01);
  EXPECT_NEAR(moments(x.values()).second, 4, 0.03);
}

TYPED_TEST(RandomTest, DropoutDropsByTheUniformNumber) {
  using T = TypeParam;
  const Key k(99, 1, 4);
  for (const double p : {0.0, 0.25, 0.3, 0.5, 1.0}) {
    for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 20001}) {
      GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 21));
      const auto y =
          both_writes<T>(Shape{n}, [&](Grad out) { cpu_backend().random->dropout(k.key, p, x.view(), out); });
      for (std::int64_t i = 0; i < n; ++i) {
        const bool kept = philox::uniform<double>(philox::word(99, 1, 4, static_cast<std::uint64_t>(i))) >= p;
        const double expected = kept ? static_cast<double>(x[i]) / (1 - p) : 0;
        ASSERT_NEAR(static_cast<double>(y[static_cast<std::size_t>(i)]), expected, 2 * unit<T>() * std::abs(expected))
            << "element " << i;
      }
    }
  }
}

TYPED_TEST(RandomTest, DropoutInPlaceGivesTheSame) {
  using T = TypeParam;
  const Key k(5);
  GuardedBuffer<T> x(Shape{5000}, random_values<T>(5000, 22)), y(Shape{5000});
  cpu_backend().random->dropout(k.key, 0.4, x.view(), y.grad());
  cpu_backend().random->dropout(k.key, 0.4, x.view(), x.grad());
  EXPECT_TRUE(same_bits(x.values(), y.values()));
}

TYPED_TEST(RandomTest, AnyThreadsAndTheReferenceGiveTheSameBits) {
  using T = TypeParam;
  const std::int64_t n = 100003;
  const Key k(1234567890123, 8, -1);
  const auto values = random_values<T>(n, 23);
  const auto all = [&] {
    GuardedBuffer<T> x(Shape{n}, values), a(Shape{n}), b(Shape{n}), c(Shape{n});
    cpu_backend().random->uniform(k.key, 0, 1, a.view());
    cpu_backend().random->normal(k.key, 0, 1, b.view());
    cpu_backend().random->dropout(k.key, 0.5, x.view(), c.grad());
    std::vector<T> joined = a.values();
    for (const auto& part : {b.values(), c.values()}) joined.insert(joined.end(), part.begin(), part.end());
    return joined;
  };
  const auto fast = for_threads(all);
  const test::ReferenceOnly reference;
  EXPECT_TRUE(same_bits(fast, all()));
}

TEST(Random, PermutationSortsByWordAndIndex) {
  for (const std::int64_t n : {0, 1, 2, 31, 32, 33, 1025, 60000}) {
    const Key k(3, 2, 1);
    const auto order = for_threads([&] {
      GuardedBuffer<std::int32_t> y(Shape{n});
      cpu_backend().random->permutation(k.key, y.view());
      return y.values();
    });
    std::vector<std::int32_t> expected(static_cast<std::size_t>(n));
    std::iota(expected.begin(), expected.end(), 0);
    std::stable_sort(expected.begin(), expected.end(), [](std::int32_t a, std::int32_t b) {
      return philox::word(3, 2, 1, static_cast<std::uint64_t>(a)) <
             philox::word(3, 2, 1, static_cast<std::uint64_t>(b));
    });
    EXPECT_TRUE(same_bits(order, expected)) << n;
  }
}

TEST(Random, AdvanceCountsCalls) {
  GuardedBuffer<std::int32_t> call(Shape{1}, {41});
  cpu_backend().random->advance(call.view());
  EXPECT_EQ(call[0], 42);
  call[0] = 2147483647;
  cpu_backend().random->advance(call.view());
  EXPECT_EQ(call[0], -2147483647 - 1);  // all 2^32 call numbers are used
  GuardedBuffer<float> a(Shape{100}), b(Shape{100});
  const Key first(1, 1, 1), second(1, 1, 2);
  cpu_backend().random->uniform(first.key, 0, 1, a.view());
  cpu_backend().random->uniform(second.key, 0, 1, b.view());
  EXPECT_FALSE(same_bits(a.values(), b.values()));
}

}  // namespace
}  // namespace descent
