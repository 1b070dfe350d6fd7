// Reductions on a device against the CPU's: rows and columns of every width, pieces, unaligned arrays, NaN and
// infinities. Sums may differ by 8 u of sum |x|; maxima and their indices must be equal.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bf16.h"
#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/reduce/reduce.cuh"

namespace descent::gpu {
namespace {

using test::cpu_backend;
using test::random_values;
using test::same_bits;
using test::unit;

constexpr Write kWrites[] = {Write::overwrite, Write::accumulate};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

struct Extent {
  std::int64_t outer, n, inner;
  Shape x() const { return {outer, n, inner}; }
  Shape y() const { return {outer, inner}; }
};

// Cover every loop: a thread, part of a warp, a warp, a block, pieces of rows; few rows, tiles, pieces of columns.
const std::vector<Extent>& extents() {
  static const std::vector<Extent> all{
      {0, 5, 1},     {3, 0, 1},    {2, 0, 3},     {1, 1, 1},    {1, 1, 1025},  {4, 1, 1},     {257, 3, 1},
      {33, 4, 1},    {31, 5, 1},   {100, 10, 1},  {5, 31, 1},   {5, 32, 1},    {5, 33, 1},    {7, 127, 1},
      {3, 255, 1},   {3, 256, 1},  {30, 257, 1},  {2, 1023, 1}, {9, 1025, 1},  {5, 4099, 1},  {1, 32769, 1},
      {2, 33000, 1}, {1, 3, 2},    {1, 33, 2},    {2, 40, 3},   {3, 100, 10},  {1, 257, 12},  {40, 5, 4},
      {900, 33, 4},  {1, 64, 255}, {1, 40, 256},  {2, 33, 257}, {1, 35, 520},  {2, 20, 1025}, {2, 3, 1025},
      {1, 8200, 4},  {1, 4100, 8}, {1, 11000, 3}, {2, 520, 64}, {1, 33, 1000},
  };
  return all;
}

std::string text(const Extent& e, int offset) { return to_string(e.x()) + " at " + std::to_string(offset); }

// Elements of many magnitudes and both signs, so that errors of a sum show.
template <class T>
std::vector<T> wide_values(std::int64_t n, unsigned seed) {
  std::vector<T> x = random_values<T>(n, seed, -8, 8);
  for (T& value : x) {
    const Wide<T> wide = value;
    value = static_cast<T>(std::copysign(std::exp(std::abs(wide)), wide));
  }
  return x;
}

template <class T, class Y>
std::vector<Y> on_cpu(ReduceOp op, const Extent& e, const std::vector<T>& x, std::vector<Y> y, Write write) {
  cpu_backend().reduce->reduce(op, view_of(x, e.x()), e.outer, e.n, e.inner, Grad{view_of(y, e.y()), write});
  return y;
}

template <class T, class Y = T>
void check_reduce(const Extent& e, int offset) {
  TestStream stream;
  std::vector<T> x = wide_values<T>(e.x().numel(), 1);
  const std::vector<Y> before = random_values<Y>(e.y().numel(), 2);
  std::vector<T> sizes(x);
  for (T& value : sizes) value = static_cast<T>(std::abs(Wide<T>(value)));
  const DeviceArray<T> from(x, offset);
  const std::vector<Y> total = on_cpu(ReduceOp::sum, e, sizes, before, Write::overwrite);
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::max}) {
    for (const Write write : kWrites) {
      DeviceArray<Y> y(before, offset);
      reduce<T>(stream, op, from.data(), e.outer, e.n, e.inner, y.data(), write);
      const std::vector<Y> got = y.host(), want = on_cpu(op, e, x, before, write);
      if (op == ReduceOp::max) {
        EXPECT_TRUE(same_bits(got, want));
        continue;
      }
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double of = static_cast<double>(total[i]) / (op == ReduceOp::mean ? static_cast<double>(e.n) : 1);
        const auto value = static_cast<double>(got[i]), expected = static_cast<double>(want[i]);
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(value)) << i;
        } else {
          const double bound = 8 * unit<Wide<T>>() * (of + (write == Write::accumulate ? 1 : 0));
          ASSERT_NEAR(value, expected, stored_bound(bound, want[i])) << i;
        }
      }
    }
  }
}

TEST(ReduceKernels, RowsAndColumns) {
  for (const Extent& e : extents()) {
    for (const int offset : {0, 1}) {
      SCOPED_TRACE(text(e, offset));
      check_reduce<float>(e, offset);
      check_reduce<double>(e, offset);
      offset == 0 ? check_reduce<Bf16>(e, offset)
                  : check_reduce<Bf16, float>(e, offset);  // only one of each, as these are slow
    }
  }
}

// The same elements give the same bits at any alignment and under every schedule.
template <class T>
void check_bits(const Extent& e) {
  const std::vector<T> x = wide_values<T>(e.x().numel(), 3);
  std::vector<T> first;
  for (const int offset : {0, 1, 3}) {
    for_schedules([&] {
      TestStream stream;
      const DeviceArray<T> from(x, offset);
      DeviceArray<T> y(e.y().numel());
      reduce<T>(stream, ReduceOp::sum, from.data(), e.outer, e.n, e.inner, y.data(), Write::overwrite);
      if (first.empty()) first = y.host();
      EXPECT_TRUE(same_bits(y.host(), first)) << text(e, offset);
    });
  }
}

TEST(ReduceKernels, SumsKeepTheirBits) {
  for (const Extent& e : {Extent{3, 10, 1}, Extent{5, 259, 1}, Extent{2, 2050, 1}, Extent{1, 33000, 1},
                          Extent{2, 100, 12}, Extent{1, 4100, 8}, Extent{1, 40, 257}}) {
    check_bits<float>(e);
    check_bits<double>(e);
    check_bits<Bf16>(e);
  }
}

template <class T>
void check_max(const Extent& e, const std::vector<T>& x, int offset) {
  TestStream stream;
  const std::int64_t groups = e.y().numel();
  const DeviceArray<T> from(x, offset);
  DeviceArray<T> y(groups, offset);
  reduce<T>(stream, ReduceOp::max, from.data(), e.outer, e.n, e.inner, y.data(), Write::overwrite);
  const std::vector<T> got = y.host(), top = on_cpu(ReduceOp::max, e, x, got, Write::overwrite);
  for (std::size_t i = 0; i < top.size(); ++i) {
    const Wide<T> value = got[i], expected = top[i];
    ASSERT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected))) << i;
  }
  const DeviceArray<T> dy(random_values<T>(groups, 5), offset);
  for (const Write write : kWrites) {
    std::vector<T> want = random_values<T>(e.x().numel(), 6);
    DeviceArray<T> dx(want, 1 - offset);
    max_backward<T>(stream, from.data(), y.data(), dy.data(), e.outer, e.n, e.inner, dx.data(), write);
    cpu_backend().reduce->max_backward(view_of(x, e.x()), view_of(top, e.y()), view_of(dy.host(), e.y()), e.outer, e.n,
                                       e.inner, Grad{view_of(want, e.x()), write});
    EXPECT_TRUE(same_bits(dx.host(), want)) << "write " << static_cast<int>(write);
  }
  if (e.inner != 1) return;
  DeviceArray<std::int32_t> place(e.outer, offset);
  argmax_rows<T>(stream, from.data(), e.outer, e.n, place.data());
  std::vector<std::int32_t> want(static_cast<std::size_t>(e.outer));
  cpu_backend().reduce->argmax_rows(view_of(x, {e.outer, e.n}), view_of(want, {e.outer}));
  EXPECT_TRUE(same_bits(place.host(), want));
}

// Few distinct values, so that maxima repeat; then with NaN and infinities among them.
template <class T>
void check_max_values(const Extent& e, int offset) {
  std::vector<T> x = random_values<T>(e.x().numel(), 7, -4, 4);
  for (T& value : x) value = static_cast<T>(std::floor(Wide<T>(value)));
  check_max(e, x, offset);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 7 == 3) x[i] = static_cast<T>(-kInf);
    if (i % 11 == 5) x[i] = static_cast<T>(i % 2 == 0 ? kInf : kNan);
  }
  check_max(e, x, offset);
  check_max(e, std::vector<T>(x.size(), static_cast<T>(-kInf)), offset);
}

TEST(ReduceKernels, MaximaTheirPlacesAndGradients) {
  for (const Extent& e : extents()) {
    for (const int offset : {0, 1}) {
      SCOPED_TRACE(text(e, offset));
      check_max_values<float>(e, offset);
      check_max_values<double>(e, offset);
      check_max_values<Bf16>(e, offset);
    }
  }
}

template <class T, class Y = T>
void check_sum_to(const Shape& x_shape, const Shape& y_shape) {
  TestStream stream;
  const std::vector<T> x = random_values<T>(x_shape.numel(), 8);
  for (const Write write : kWrites) {
    std::vector<Y> want = random_values<Y>(y_shape.numel(), 9);
    const DeviceArray<T> from(x);
    DeviceArray<Y> y(want, 1);
    sum_to<T>(stream, from.data(), x_shape, y_shape, y.data(), write);
    cpu_backend().reduce->sum_to(view_of(x, x_shape), Grad{view_of(want, y_shape), write});
    const std::vector<Y> got = y.host();
    const double terms = y_shape.numel() == 0 ? 0 : static_cast<double>(x_shape.numel() / y_shape.numel());
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(got[i]), static_cast<double>(want[i]),
                  stored_bound(8 * unit<Wide<T>>() * (terms + 1), want[i]))
          << i << " of " << to_string(x_shape) << " -> " << to_string(y_shape);
    }
  }
}

TEST(ReduceKernels, SumToEveryPatternOfAxes) {
  const std::vector<std::pair<Shape, Shape>> cases{
      {{}, {}},
      {{1, 1}, {1}},
      {{33}, {}},
      {{33}, {33}},
      {{5, 33}, {33}},
      {{5, 33}, {5, 1}},
      {{5, 33, 6}, {5, 1, 6}},
      {{2, 33, 5}, {33, 1}},
      {{2, 3, 1025}, {3, 1}},
      {{2, 3, 4, 5}, {2, 1, 4, 1}},
      {{40, 3, 4, 5}, {3, 1, 5}},
      {{2, 3, 2, 3, 2, 3, 2, 3}, {1, 3, 1, 3, 1, 3, 1, 3}},
      {{2, 3, 2, 3, 2, 3, 2, 3}, {2, 1, 2, 1, 2, 1, 2, 1}},
      {{0, 3, 5}, {3, 1}},
      {{3, 0}, {3, 1}},
      {{0, 3}, {0, 1}},
      {{3, 0}, {1, 0}},
      {{1, 600, 60}, {1, 1, 60}},
      {{600, 2, 60}, {2, 1}},
  };
  for (const auto& [x, y] : cases) {
    check_sum_to<float>(x, y);
    check_sum_to<double>(x, y);
    check_sum_to<Bf16>(x, y);
    check_sum_to<Bf16, float>(x, y);
  }
}

constexpr std::int64_t kFlatSizes[] = {0, 1, 3, 4, 5, 31, 32, 33, 255, 256, 257, 1024, 1025, 3100, 33001, 41000};

template <class T>
void check_sum_of_squares(std::int64_t n, int offset) {
  TestStream stream;
  const std::vector<T> x = wide_values<T>(n, 10);
  const DeviceArray<T> from(x, offset);
  DeviceArray<double> y(1);
  double want = 0;
  sum_of_squares<T>(stream, from.data(), n, y.data());
  cpu_backend().reduce->sum_of_squares(view_of(x, {n}), View{&want, {1}, DType::f64});
  EXPECT_NEAR(y.host()[0], want, 8 * unit<Wide<T>>() * want) << n << " at " << offset;
}

TEST(ReduceKernels, SumOfSquares) {
  for (const std::int64_t n : kFlatSizes) {
    for (const int offset : {0, 1}) {
      check_sum_of_squares<float>(n, offset);
      check_sum_of_squares<double>(n, offset);
      check_sum_of_squares<Bf16>(n, offset);
    }
  }
}

// Infinities and NaN propagate through sums as IEEE 754 defines, also through the low parts of f64 sums.
template <class T>
void check_infinite_sums(std::int64_t n) {
  TestStream stream;
  const std::vector<std::pair<std::vector<double>, double>> cases{
      {{kInf}, kInf}, {{-kInf}, -kInf}, {{kInf, -kInf}, kNan}, {{kNan, 1}, kNan}, {{kInf, kInf}, kInf}};
  for (const auto& [put, want] : cases) {
    std::vector<T> x = random_values<T>(n, 12);
    for (std::size_t i = 0; i < put.size(); ++i) x[(i * 37) % x.size()] = static_cast<T>(put[i]);
    const DeviceArray<T> from(x);
    DeviceArray<T> y(1);
    reduce<T>(stream, ReduceOp::sum, from.data(), 1, n, 1, y.data(), Write::overwrite);
    const double got = static_cast<double>(y.host()[0]);
    EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << got << ", expected " << want;
  }
}

TEST(ReduceKernels, InfiniteSums) {
  for (const std::int64_t n : {2, 40, 1030, 33000}) {
    check_infinite_sums<float>(n);
    check_infinite_sums<double>(n);
    check_infinite_sums<Bf16>(n);
  }
}

template <class T>
void check_top_k() {
  for_schedules([] {
    for (const Shape& shape : {Shape{0, 5}, Shape{1, 1}, Shape{1, 33}, Shape{7, 10}, Shape{33, 31}, Shape{3, 1025}}) {
      for (const std::int64_t k : {std::int64_t{1}, (shape[1] + 1) / 2, shape[1]}) {
        SCOPED_TRACE(testing::Message() << k << " of " << to_string(shape));
        std::vector<T> x = wide_values<T>(shape.numel(), 5);
        for (std::size_t i = 0; i < x.size(); i += 4) x[i] = static_cast<T>(std::floor(Wide<T>(x[i])));  // ties
        if (x.size() > 9) {
          x[2] = x[5] = static_cast<T>(kNan);
          x[3] = -T(0);  // equal to 0, and first
          x[6] = T(0);
          x[7] = static_cast<T>(kInf);
          x[8] = static_cast<T>(-kInf);
        }
        const std::int64_t count = shape[0] * k;
        std::vector<T> values(static_cast<std::size_t>(count));
        std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
        cpu_backend().reduce->top_k(view_of(std::as_const(x), shape), view_of(values, {shape[0], k}),
                                    view_of(indices, {shape[0], k}));
        TestStream stream;
        const DeviceArray<T> in(x), out(count);
        const DeviceArray<std::int32_t> at(count);
        top_k(stream, in.data(), shape[0], shape[1], k, out.data(), at.data());
        EXPECT_TRUE(same_bits(out.host(), values));
        EXPECT_EQ(at.host(), indices);
      }
    }
  });
}

TEST(ReduceKernels, TopK) {
  check_top_k<float>();
  check_top_k<double>();
  check_top_k<Bf16>();
}

}  // namespace
}  // namespace descent::gpu
