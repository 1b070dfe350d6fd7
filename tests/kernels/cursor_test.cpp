// Self-advancing device cursors: the batches of an epoch in sequence, and slots filled in turn, against reference
// loops and the CPU backend.
#include "cuda/indexing/cursor.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/op_groups.h"
#include "device_array.h"

namespace descent::gpu {
namespace {

const std::vector<std::int64_t> kSizes{0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 4097};

std::vector<std::int32_t> numbers(std::int64_t n) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<std::int32_t>(i * 7919 % 100003));
  return values;
}

void expect_next_rows(std::int64_t n, std::int64_t count, std::int32_t begin, int offset) {
  SCOPED_TRACE(testing::Message() << n << " in order, " << count << " from " << begin << ", offset " << offset);
  TestStream stream;
  std::vector<std::int32_t> in_order = numbers(n);
  std::vector<std::int32_t> cpu_position{begin};
  const DeviceArray<std::int32_t> order(in_order, offset), position({begin}), index(count, offset);
  for (int call = 0; call < 3; ++call) {
    next_rows(stream, order.data(), n, position.data(), index.data(), count);
    std::vector<std::int32_t> expected(static_cast<std::size_t>(count));
    cpu::backend().indexing->next_rows(View{in_order.data(), Shape{n}, DType::i32},
                                       View{cpu_position.data(), Shape{1}, DType::i32},
                                       View{expected.data(), Shape{count}, DType::i32});
    ASSERT_EQ(index.host(), expected) << "call " << call;
    ASSERT_EQ(position.host(), cpu_position) << "call " << call;
  }
}

TEST(Next, RowsGoOnWhereTheLastOnesEnded) {
  for_schedules([] {
    for (const std::int64_t count : kSizes) {
      for (const std::int64_t n : {count, 2 * count + 1, std::int64_t{1025}}) expect_next_rows(n, count, 0, 0);
    }
    expect_next_rows(300, 100, 7, 1);
  });
}

TEST(Next, RowsOutsideOfTheOrderAreNone) {
  for (const std::int32_t begin : {-3, 9, 10, 11, 2147483647}) {
    expect_next_rows(10, 4, begin, 0);
    expect_next_rows(0, 4, begin, 0);
    expect_next_rows(10, 0, begin, 0);
  }
}

template <class T>
void expect_slots() {
  TestStream stream;
  const DeviceArray<T> x({T(0.1)});
  const DeviceArray<double> slots(std::vector<double>(3, 7.0));
  const DeviceArray<std::int32_t> position({1});
  for (int call = 0; call < 3; ++call) store_next(stream, x.data(), position.data(), slots.data(), 3);
  EXPECT_EQ(slots.host(), (std::vector<double>{7, static_cast<double>(T(0.1)), static_cast<double>(T(0.1))}));
  EXPECT_EQ(position.host(), (std::vector<std::int32_t>{3}));
  for (const std::int32_t outside : {-1, 3, 2147483647}) {
    DeviceArray<std::int32_t> wrong({outside});
    store_next(stream, x.data(), wrong.data(), slots.data(), 3);
    EXPECT_EQ(wrong.host(), (std::vector<std::int32_t>{outside}));
  }
  EXPECT_EQ(slots.host()[0], 7);
}

TEST(Next, SlotsAreFilledInTurn) {
  for_schedules([] {
    expect_slots<float>();
    expect_slots<double>();
  });
}

}  // namespace
}  // namespace descent::gpu
