// Kernels that move rows, bit for bit against the CPU backend. Indices outside the table read and write nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "bf16.h"
#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/indexing/indexing.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::same_bits;

const std::vector<std::int64_t> kLengths{0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1025};

// n indices into `rows` rows, some of them out of range.
std::vector<std::int32_t> some_indices(std::int64_t n, std::int64_t rows) {
  std::vector<std::int32_t> index;
  for (std::int64_t i = 0; i < n; ++i) index.push_back(static_cast<std::int32_t>((i * 7919 + 13) % rows));
  if (n > 3) {
    index[0] = -1;
    index[1] = static_cast<std::int32_t>(rows);
    index[2] = std::numeric_limits<std::int32_t>::min();
    index[3] = std::numeric_limits<std::int32_t>::max();
  }
  return index;
}

// Where inputs and outputs begin, in elements: either offset alone can rule out the widest words.
struct Offsets {
  int in, out;
  friend std::ostream& operator<<(std::ostream& to, const Offsets& at) {
    return to << "offsets " << at.in << " and " << at.out;
  }
};
constexpr Offsets kOffsets[] = {{0, 0}, {1, 1}, {1, 0}, {0, 2}};

template <class T>
void check_gather(std::int64_t rows, std::int64_t n, std::int64_t width, const Offsets& at) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << width << ", " << n << " taken, " << at);
  std::vector<std::int32_t> index = some_indices(n, rows);
  std::vector<T> x = random_values<T>(rows * width, 51, 0, 100), want(static_cast<std::size_t>(n * width));
  cpu::backend().indexing->index_select(view_of(x, {rows, width}), view_of(index, {n}), view_of(want, {n, width}));
  TestStream stream;
  const DeviceArray<T> in(x, at.in), out(n * width, at.out);
  const DeviceArray<std::int32_t> which(index);
  index_select(stream, in.data(), rows, which.data(), n, width * static_cast<std::int64_t>(sizeof(T)), out.data());
  EXPECT_TRUE(same_bits(out.host(), want));
}

TEST(IndexKernels, GatherRows) {
  for_schedules([] {
    for (const Offsets& at : kOffsets) {
      for (const std::int64_t n : kLengths) {
        check_gather<float>(50, n, 8, at);
        check_gather<double>(50, n, 1, at);
        check_gather<std::int32_t>(7, n, 5, at);
        check_gather<std::uint8_t>(20, n, 48, at);
        check_gather<std::uint8_t>(20, n, 6, at);
        check_gather<std::uint8_t>(1, n, 3, at);
        check_gather<Bf16>(30, n, 8, at);
        check_gather<Bf16>(30, n, 5, at);
      }
    }
    check_gather<float>(50, 10, 0, {});
    check_gather<float>(5, 9, 1025, {});
  });
}

template <class T>
class IndexKernels : public testing::Test {};
using Stored = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(IndexKernels, Stored);

TYPED_TEST(IndexKernels, ScatterAddsInTheOrderOfTheIndices) {
  using T = TypeParam;
  struct Case {
    std::int64_t rows, n, width;
  };
  for (const Case& c : {Case{5, 40, 3}, Case{1, 33, 33}, Case{100, 1025, 8}, Case{20, 64, 300}, Case{1300, 257, 4},
                        Case{4, 0, 7}, Case{7, 9, 1}, Case{64, 256, 1}, Case{3, 5, 0}, Case{2, 1025, 1}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " rows of " << c.width << ", " << c.n << " added");
    std::vector<std::int32_t> index = some_indices(c.n, c.rows);
    std::vector<T> dy = random_values<T>(c.n * c.width, 52);
    const std::vector<T> before = random_values<T>(c.rows * c.width, 53);
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      std::vector<T> want = before;
      cpu::backend().indexing->scatter_add_rows(view_of(dy, {c.n, c.width}), view_of(index, {c.n}),
                                                {view_of(want, {c.rows, c.width}), write});
      for_schedules([&] {
        TestStream stream;
        const DeviceArray<T> up(dy, 1);
        const DeviceArray<std::int32_t> which(index, 1);
        DeviceArray<T> dx(c.rows * c.width, 1);
        if (write == Write::accumulate) dx.set(before);
        scatter_add_rows(stream, up.data(), which.data(), c.n, dx.data(), c.rows, c.width, write);
        EXPECT_TRUE(same_bits(dx.host(), want));
      });
    }
  }
}

template <class T>
void check_one_hot(std::int64_t n, std::int64_t classes) {
  const std::vector<std::int32_t> index = some_indices(n, classes);
  TestStream stream;
  const DeviceArray<std::int32_t> which(index, 1);
  const DeviceArray<T> out(n * classes, 1);
  one_hot(stream, which.data(), n, classes, out.data());
  const std::vector<T> y = out.host();
  for (std::int64_t i = 0; i < n * classes; ++i) {
    const float want = index[static_cast<std::size_t>(i / classes)] == i % classes ? 1.0F : 0.0F;
    ASSERT_EQ(static_cast<float>(y[static_cast<std::size_t>(i)]), want) << "element " << i << " of " << n;
  }
}

TEST(IndexKernels, OneHot) {
  for_schedules([] {
    for (const std::int64_t n : kLengths) {
      check_one_hot<float>(n, 10);
      check_one_hot<double>(n, 3);
      check_one_hot<std::int32_t>(n, 1);
      check_one_hot<std::uint8_t>(n, 4);
      check_one_hot<Bf16>(n, 5);
    }
  });
}

TYPED_TEST(IndexKernels, GatherImages) {
  using T = TypeParam;
  struct Case {
    std::int64_t pixels, channels;
  };
  constexpr std::int64_t kRows = 20;
  for (const Case& c : {Case{784, 1}, Case{1, 1}, Case{33, 1}, Case{64, 3}, Case{35, 3}, Case{7, 4}, Case{1, 1500}}) {
    const std::int64_t width = c.pixels * c.channels;
    std::vector<std::uint8_t> x = random_values<std::uint8_t>(kRows * width, 54, 0, 256);
    std::vector<float> shift = random_values<float>(c.channels, 55, 0, 100),
                       scale = random_values<float>(c.channels, 56, 0.001, 0.1);
    for (const std::int64_t n : {0, 1, 5, 33}) {
      SCOPED_TRACE(testing::Message() << n << " images of " << c.pixels << " pixels of " << c.channels);
      std::vector<std::int32_t> index = some_indices(n, kRows);
      std::vector<T> want(static_cast<std::size_t>(n * width));
      cpu::backend().indexing->gather_images(view_of(x, {kRows, width}), view_of(index, {n}),
                                             view_of(shift, {c.channels}), view_of(scale, {c.channels}),
                                             view_of(want, {n, width}));
      for_schedules([&] {
        for (const Offsets& at : kOffsets) {
          TestStream stream;
          const DeviceArray<std::uint8_t> in(x, at.in);
          const DeviceArray<std::int32_t> which(index);
          const DeviceArray<float> shifts(shift), scales(scale);
          const DeviceArray<T> out(n * width, at.out);
          gather_images(stream, in.data(), kRows, which.data(), n, width, shifts.data(), scales.data(), c.channels,
                        out.data());
          EXPECT_TRUE(same_bits(out.host(), want));
        }
      });
    }
  }
}

template <class T>
void check_copy_block(std::int64_t rows, std::int64_t width, std::int64_t src_pitch, std::int64_t dst_pitch,
                      Write write, const Offsets& at) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << width << ", pitches " << src_pitch << " and " << dst_pitch);
  const std::int64_t from = rows == 0 ? 0 : (rows - 1) * src_pitch + width;
  const std::int64_t to = rows == 0 ? 0 : (rows - 1) * dst_pitch + width;
  std::vector<T> src = random_values<T>(from, 57, 0, 100);
  const std::vector<T> before = random_values<T>(to, 58, 0, 100);
  std::vector<T> want = before;
  cpu::backend().indexing->copy_block(view_of(src, {from}), src_pitch, view_of(want, {to}), dst_pitch, rows, width,
                                      write);
  TestStream stream;
  const DeviceArray<T> in(src, at.in), out(before, at.out);
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  if (write == Write::overwrite) {
    copy_block(stream, in.data(), src_pitch * size, out.data(), dst_pitch * size, rows, width * size);
  } else {
    add_block(stream, in.data(), src_pitch, out.data(), dst_pitch, rows, width);
  }
  EXPECT_TRUE(same_bits(out.host(), want));
}

TEST(IndexKernels, CopyBlock) {
  for_schedules([] {
    for (const Offsets& at : kOffsets) {
      for (const std::int64_t width : kLengths) {
        for (const std::int64_t rows : {0, 1, 5}) {
          check_copy_block<float>(rows, width, width + 3, width, Write::overwrite, at);
          check_copy_block<float>(rows, width, width + 4, width + 8, Write::overwrite, at);
          check_copy_block<float>(rows, width, width, width + 5, Write::accumulate, at);
          check_copy_block<double>(rows, width, width + 1, width + 2, Write::accumulate, at);
          check_copy_block<std::int32_t>(rows, width, width, width, Write::overwrite, at);
          check_copy_block<std::uint8_t>(rows, width, width + 7, width + 1, Write::overwrite, at);
          check_copy_block<Bf16>(rows, width, width + 3, width + 8, Write::overwrite, at);
          check_copy_block<Bf16>(rows, width, width + 1, width + 2, Write::accumulate, at);
        }
      }
      check_copy_block<float>(1, 16000, 3, 5, Write::overwrite, at);  // one row: its pitch is irrelevant
      check_copy_block<float>(700, 4, 4, 8, Write::accumulate, at);
    }
  });
}

TEST(IndexKernels, CountPairs) {
  for_schedules([] {
    for (const std::int64_t n : kLengths) {
      for (const Shape& shape : {Shape{1, 1}, Shape{1, 10}, Shape{3, 4}, Shape{40, 33}}) {
        for (const bool with_rows : {false, true}) {
          SCOPED_TRACE(testing::Message() << n << " pairs in " << to_string(shape) << ", rows " << with_rows);
          std::vector<std::int32_t> row = some_indices(n, shape[0]), column = some_indices(n, shape[1]);
          std::reverse(column.begin(), column.end());
          std::vector<std::int32_t> want(static_cast<std::size_t>(shape.numel()), 7);  // counts are accumulated
          TestStream stream;
          const DeviceArray<std::int32_t> rows(row), columns(column), counts(want);
          cpu::backend().indexing->count_pairs(with_rows ? ConstView(view_of(row, {n})) : ConstView(),
                                               view_of(column, {n}), view_of(want, shape));
          count_pairs(stream, with_rows ? rows.data() : nullptr, columns.data(), n, counts.data(), shape[0], shape[1]);
          EXPECT_EQ(counts.host(), want);
        }
      }
    }
  });
}

}  // namespace
}  // namespace descent::gpu
