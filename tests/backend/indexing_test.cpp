// Gathering, scattering and copying rows, against reference loops; indices outside the table read and write nothing.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "support/backend_test.h"

namespace descent {
namespace {

using namespace descent::test;

std::vector<std::int32_t> some_indices(std::int64_t n, std::int64_t rows) {
  std::vector<std::int32_t> index;
  for (std::int64_t i = 0; i < n; ++i)
    index.push_back(static_cast<std::int32_t>((i * 7919 + 13) % std::max<std::int64_t>(1, rows)));
  return index;
}

template <class T>
void expect_gather(std::int64_t rows, std::int64_t n, std::int64_t width, bool outside) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << width << ", " << n << " taken");
  auto index = some_indices(n, rows);
  if (outside && n > 2) {
    index[0] = -1;
    index[1] = static_cast<std::int32_t>(rows);
    index[2] = -2147483647 - 1;
  }
  GuardedBuffer<T> x(Shape{rows, width}, random_values<T>(rows * width, 51, 0, 100));
  GuardedBuffer<std::int32_t> which(Shape{n}, index);
  const auto y = for_threads([&] {
    GuardedBuffer<T> out(Shape{n, width});
    cpu_backend().indexing->index_select(x.view(), which.view(), out.view());
    return out.values();
  });
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t r = index[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < width; ++j) {
      ASSERT_EQ(y[static_cast<std::size_t>(i * width + j)], r >= 0 && r < rows ? x[r * width + j] : T(0));
    }
  }
}

TEST(Index, GathersRowsOfAnyType) {
  for (const std::int64_t n : kSizes) {
    expect_gather<float>(50, n, 33, true);
    expect_gather<double>(50, n, 1, true);
    expect_gather<std::int32_t>(7, n, 5, false);
    expect_gather<std::uint8_t>(50, n, 784, true);
  }
  expect_gather<float>(50, 10, 0, false);
}

template <class T>
class IndexTest : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(IndexTest, Floating);

TYPED_TEST(IndexTest, ScattersAndAdds) {
  using T = TypeParam;
  struct Case {
    std::int64_t rows, n, width;
  };
  for (const Case& c : {Case{5, 40, 3}, Case{1, 33, 33}, Case{100, 2000, 32}, Case{20, 64, 300}, Case{3000, 1025, 16},
                        Case{4, 0, 7}, Case{7, 9, 1}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " rows of " << c.width << ", " << c.n << " added");
    auto index = some_indices(c.n, c.rows);
    if (c.n > 2) {
      index[0] = -1;
      index[1] = static_cast<std::int32_t>(c.rows);
    }
    GuardedBuffer<T> dy(Shape{c.n, c.width}, random_values<T>(c.n * c.width, 52));
    GuardedBuffer<std::int32_t> which(Shape{c.n}, index);
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      const auto start = random_values<T>(c.rows * c.width, 53);
      const auto dx = for_threads([&] {
        GuardedBuffer<T> out(Shape{c.rows, c.width}, start);
        cpu_backend().indexing->scatter_add_rows(dy.view(), which.view(), out.grad(write));
        return out.values();
      });
      std::vector<T> expected = write == Write::accumulate ? start : std::vector<T>(start.size(), T(0));
      for (std::int64_t i = 0; i < c.n; ++i) {
        const std::int64_t r = index[static_cast<std::size_t>(i)];
        if (r < 0 || r >= c.rows) continue;
        for (std::int64_t j = 0; j < c.width; ++j)
          expected[static_cast<std::size_t>(r * c.width + j)] += dy[i * c.width + j];
      }
      EXPECT_TRUE(same_bits(dx, expected));  // the backend interface specifies the order of the additions
    }
  }
}

TYPED_TEST(IndexTest, OneHot) {
  using T = TypeParam;
  for (const std::int64_t n : kSizes) {
    auto index = some_indices(n, 10);
    if (n > 1) index[0] = 10, index[1] = -1;
    GuardedBuffer<std::int32_t> which(Shape{n}, index);
    GuardedBuffer<T> y(Shape{n, 10});
    cpu_backend().indexing->one_hot(which.view(), y.view());
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < 10; ++j)
        ASSERT_EQ(y[i * 10 + j], index[static_cast<std::size_t>(i)] == j ? T(1) : T(0));
    }
  }
}

TYPED_TEST(IndexTest, GathersAndNormalizesImages) {
  using T = TypeParam;
  struct Case {
    std::int64_t pixels, channels;
  };
  for (const Case& c :
       {Case{784, 1}, Case{1, 1}, Case{33, 1}, Case{1024, 3}, Case{341, 3}, Case{7, 4}, Case{2, 1500}, Case{1, 1024}}) {
    const std::int64_t width = c.pixels * c.channels, rows = 20;
    SCOPED_TRACE(testing::Message() << c.pixels << " pixels of " << c.channels);
    GuardedBuffer<std::uint8_t> x(Shape{rows, width}, random_values<std::uint8_t>(rows * width, 54, 0, 256));
    GuardedBuffer<float> shift(Shape{c.channels}, random_values<float>(c.channels, 55, 0, 100)),
        scale(Shape{c.channels}, random_values<float>(c.channels, 56, 0.001, 0.1));
    for (const std::int64_t n : kSizes) {
      auto index = some_indices(n, rows);
      if (n > 1) index[0] = -1, index[1] = static_cast<std::int32_t>(rows);
      GuardedBuffer<std::int32_t> which(Shape{n}, index);
      const auto gather = [&] {
        GuardedBuffer<T> y(Shape{n, width});
        cpu_backend().indexing->gather_images(x.view(), which.view(), shift.view(), scale.view(), y.view());
        return y.values();
      };
      const auto y = for_threads(gather);
      for (std::int64_t i = 0; i < n * width; ++i) {
        const std::int64_t r = index[static_cast<std::size_t>(i / width)], f = i % width, channel = f % c.channels;
        const T expected = r < 0 || r >= rows ? T(0)
                                              : (static_cast<T>(x[r * width + f]) - static_cast<T>(shift[channel])) *
                                                    static_cast<T>(scale[channel]);
        ASSERT_EQ(y[static_cast<std::size_t>(i)], expected) << "element " << i;
      }
      cpu::set_reference_only(true);
      EXPECT_TRUE(same_bits(y, gather()));
      cpu::set_reference_only(false);
    }
  }
}

template <class T>
void expect_copy_block(std::int64_t rows, std::int64_t width, std::int64_t src_pitch, std::int64_t dst_pitch,
                       Write write) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << width);
  const std::int64_t from = rows == 0 ? 0 : (rows - 1) * src_pitch + width,
                     to = rows == 0 ? 0 : (rows - 1) * dst_pitch + width;
  GuardedBuffer<T> src(Shape{from}, random_values<T>(from, 57, 0, 100));
  const auto start = random_values<T>(to, 58, 0, 100);
  const auto got = for_threads([&] {
    GuardedBuffer<T> dst(Shape{to}, start);
    cpu_backend().indexing->copy_block(src.view(), src_pitch, dst.view(), dst_pitch, rows, width, write);
    return dst.values();
  });
  std::vector<T> expected = start;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < width; ++i) {
      T& element = expected[static_cast<std::size_t>(r * dst_pitch + i)];
      const T value = src[r * src_pitch + i];
      element = write == Write::accumulate ? static_cast<T>(element + value) : value;
    }
  }
  EXPECT_TRUE(same_bits(got, expected));
}

TEST(Index, CopiesBlocks) {
  for (const std::int64_t width : kSizes) {
    for (const std::int64_t rows : {0, 1, 5, 700}) {
      expect_copy_block<float>(rows, width, width + 3, width, Write::overwrite);
      expect_copy_block<float>(rows, width, width, width + 5, Write::accumulate);
      expect_copy_block<double>(rows, width, width + 1, width + 2, Write::accumulate);
      expect_copy_block<std::int32_t>(rows, width, width, width, Write::overwrite);
      expect_copy_block<std::uint8_t>(rows, width, width + 7, width + 1, Write::overwrite);
    }
  }
  expect_copy_block<float>(3, 70001, 70001, 80000, Write::overwrite);
  expect_copy_block<float>(3, 70001, 70001, 80000, Write::accumulate);
}

TEST(Index, NextRowsGoOnWhereTheLastOnesEnded) {
  for (const std::int64_t n : kSizes) {
    for (const std::int64_t count : {0, 1, 7, 32, 2000}) {
      SCOPED_TRACE(testing::Message() << n << " in order, " << count << " at a time");
      const auto numbers = some_indices(n, 100000);
      GuardedBuffer<std::int32_t> order(Shape{n}, numbers), position(Shape{1}, {0});
      std::int64_t at = 0;
      for (int call = 0; call < 4; ++call) {
        GuardedBuffer<std::int32_t> index(Shape{count});
        cpu_backend().indexing->next_rows(order.view(), position.view(), index.view());
        for (std::int64_t i = 0; i < count; ++i) {
          ASSERT_EQ(index[i], at + i < n ? numbers[static_cast<std::size_t>(at + i)] : -1) << i;
        }
        at = std::min(at + count, n);
        ASSERT_EQ(position[0], at);
      }
    }
  }
}

TEST(Index, NextRowsOutsideOfTheOrderAreNone) {
  GuardedBuffer<std::int32_t> order(Shape{3}, {10, 20, 30}), index(Shape{2}), position(Shape{1}, {-1});
  cpu_backend().indexing->next_rows(order.view(), position.view(), index.view());
  EXPECT_EQ(index.values(), (std::vector<std::int32_t>{-1, 10}));
  position.fill(2147483647);
  cpu_backend().indexing->next_rows(order.view(), position.view(), index.view());
  EXPECT_EQ(index.values(), (std::vector<std::int32_t>{-1, -1}));
  EXPECT_EQ(position[0], 3);
}

TYPED_TEST(IndexTest, StoresInTheNextSlot) {
  using T = TypeParam;
  GuardedBuffer<double> slots(Shape{3}, {0, 0, 0});
  GuardedBuffer<std::int32_t> position(Shape{1}, {1});
  for (const T value : {T(0.1), T(-2), T(3)}) {  // no slot is left for the third
    GuardedBuffer<T> x(Shape{1}, {value});
    cpu_backend().indexing->store_next(x.view(), position.view(), slots.view());
  }
  EXPECT_EQ(slots.values(), (std::vector<double>{0, static_cast<double>(T(0.1)), -2}));
  EXPECT_EQ(position[0], 3);
  position.fill(-1);
  GuardedBuffer<T> x(Shape{1}, {T(5)});
  cpu_backend().indexing->store_next(x.view(), position.view(), slots.view());
  EXPECT_EQ(slots[0], 0);
  EXPECT_EQ(position[0], -1);
}

}  // namespace
}  // namespace descent
