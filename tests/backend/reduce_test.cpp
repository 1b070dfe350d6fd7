// Reductions against reference loops in long double; accuracy, order and special values.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backend_test.h"

namespace descent {
namespace {

using namespace descent::test;
using Real = long double;

struct Extent {
  std::int64_t outer, n, inner;
};

std::vector<Extent> extents() {
  std::vector<Extent> all{{3, 5, 7},      {1, 128, 10},  {1, 5000, 32}, {1, 3000, 129}, {128, 10, 1}, {2, 40000, 1},
                          {1, 100000, 1}, {300, 300, 1}, {4, 9, 200},   {2, 1000, 65},  {0, 4, 3},    {3, 0, 2},
                          {3, 0, 1},      {2, 3, 0},     {1, 2, 20001}, {40, 700, 3}};
  for (const std::int64_t n : kSizes) {
    all.push_back({1, n, 1});
    all.push_back({n, 3, 1});
    all.push_back({1, 3, n});
    all.push_back({2, n, 5});
  }
  return all;
}

template <class T>
class ReduceTest : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(ReduceTest, Floating);

TYPED_TEST(ReduceTest, SumsAndMeansWithinEightUnits) {
  using T = TypeParam;
  for (const Extent& e : extents()) {
    SCOPED_TRACE(testing::Message() << e.outer << " x " << e.n << " x " << e.inner);
    const Shape shape{e.outer, e.n, e.inner};
    const auto values = random_values<T>(shape.numel(), 11);
    GuardedBuffer<T> x(shape, values);
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean}) {
      const auto y = both_writes<T>(Shape{e.outer, e.inner}, [&](Grad out) {
        cpu_backend().reduce->reduce(op, x.view(), e.outer, e.n, e.inner, out);
      });
      for (std::int64_t o = 0; o < e.outer; ++o) {
        for (std::int64_t j = 0; j < e.inner; ++j) {
          Real sum = 0, size = 0;
          for (std::int64_t i = 0; i < e.n; ++i) {
            const Real value = static_cast<Real>(x[(o * e.n + i) * e.inner + j]);
            sum += value;
            size += std::abs(value);
          }
          const T got = y[static_cast<std::size_t>(o * e.inner + j)];
          const Real count = op == ReduceOp::mean ? static_cast<Real>(e.n) : 1;
          if (count == 0) {
            ASSERT_TRUE(std::isnan(got));  // the mean of no elements
            continue;
          }
          ASSERT_NEAR(static_cast<double>(got), static_cast<double>(sum / count),
                      8 * unit<T>() * static_cast<double>(size / count));
        }
      }
    }
  }
}

TYPED_TEST(ReduceTest, MaximaAndTheirGradients) {
  using T = TypeParam;
  for (const Extent& e : extents()) {
    SCOPED_TRACE(testing::Message() << e.outer << " x " << e.n << " x " << e.inner);
    const Shape shape{e.outer, e.n, e.inner}, reduced{e.outer, e.inner};
    auto values = random_values<T>(shape.numel(), 12);
    for (T& value : values) value = std::round(value * 8);  // ties
    GuardedBuffer<T> x(shape, values), y(reduced), dy(reduced, random_values<T>(reduced.numel(), 13));
    cpu_backend().reduce->reduce(ReduceOp::max, x.view(), e.outer, e.n, e.inner, y.grad());
    const auto dx = both_writes<T>(shape, [&](Grad out) {
      cpu_backend().reduce->max_backward(x.view(), y.view(), dy.view(), e.outer, e.n, e.inner, out);
    });
    for (std::int64_t o = 0; o < e.outer; ++o) {
      for (std::int64_t j = 0; j < e.inner; ++j) {
        T best = -std::numeric_limits<T>::infinity();
        std::int64_t first = -1;
        for (std::int64_t i = 0; i < e.n; ++i) {
          const T value = x[(o * e.n + i) * e.inner + j];
          if (value > best) {
            best = value;
            first = i;
          }
        }
        ASSERT_EQ(y[o * e.inner + j], best);
        for (std::int64_t i = 0; i < e.n; ++i) {
          ASSERT_EQ(dx[static_cast<std::size_t>((o * e.n + i) * e.inner + j)], i == first ? dy[o * e.inner + j] : T(0));
        }
      }
    }
  }
}

TYPED_TEST(ReduceTest, NanWinsMaxima) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const std::int64_t inner : {1, 2}) {
    for (const std::int64_t at : {0, 5, 39}) {
      GuardedBuffer<T> x(Shape{40, inner}, random_values<T>(40 * inner, 14)), y(Shape{inner}), dy(Shape{inner}),
          dx(x.shape());
      dy.fill(2);
      x[at * inner] = nan;
      cpu_backend().reduce->reduce(ReduceOp::max, x.view(), 1, 40, inner, y.grad());
      EXPECT_TRUE(std::isnan(y[0]));
      cpu_backend().reduce->max_backward(x.view(), y.view(), dy.view(), 1, 40, inner, dx.grad());
      EXPECT_EQ(dx[at * inner], 2);
      if (inner == 1) {
        GuardedBuffer<std::int32_t> best(Shape{1});
        cpu_backend().reduce->argmax_rows(ConstView(x.data(), Shape{1, 40}, dtype_of<T>), best.view());
        EXPECT_EQ(best[0], at);
      }
    }
  }
}

TYPED_TEST(ReduceTest, AnyNumberOfThreads) {
  using T = TypeParam;
  for (const Extent& e :
       {Extent{1, 300000, 1}, Extent{3, 50000, 1}, Extent{1, 20000, 32}, Extent{64, 33, 65}, Extent{2000, 10, 1}}) {
    const Shape shape{e.outer, e.n, e.inner};
    const auto values = random_values<T>(shape.numel(), 15);
    for_threads([&] {
      GuardedBuffer<T> x(shape, values), y(Shape{e.outer, e.inner});
      cpu_backend().reduce->reduce(ReduceOp::sum, x.view(), e.outer, e.n, e.inner, y.grad());
      return y.values();
    });
    for_threads([&] {
      GuardedBuffer<T> x(shape, values);
      GuardedBuffer<double> y(Shape{1});
      cpu_backend().reduce->sum_of_squares(x.view(), y.view());
      return y.values();
    });
  }
}

TYPED_TEST(ReduceTest, ColumnSumsAreThoseOfTheReference) {
  using T = TypeParam;
  for (const std::int64_t columns : {2, 3, 8, 10, 31, 32, 33, 64, 65, 100, 129}) {
    for (const std::int64_t rows : {0, 1, 7, 128, 3000}) {
      GuardedBuffer<T> x(Shape{rows, columns}, random_values<T>(rows * columns, 24)), fast(Shape{columns}),
          plain(Shape{columns});
      cpu_backend().reduce->reduce(ReduceOp::sum, x.view(), 1, rows, columns, fast.grad());
      cpu::set_reference_only(true);
      cpu_backend().reduce->reduce(ReduceOp::sum, x.view(), 1, rows, columns, plain.grad());
      cpu::set_reference_only(false);
      EXPECT_TRUE(same_bits(fast.values(), plain.values())) << rows << " x " << columns;
    }
  }
}

TYPED_TEST(ReduceTest, SumToUndoesBroadcasting) {
  using T = TypeParam;
  struct Case {
    Shape x, y;
  };
  for (const Case& c :
       {Case{{4, 3}, {4, 3}}, Case{{4, 3}, {3}}, Case{{4, 3}, {4, 1}}, Case{{4, 3}, {}}, Case{{4, 3}, {1, 1}},
        Case{{2, 7, 5, 3}, {7, 1, 3}}, Case{{2, 7, 5, 3}, {2, 1, 5, 1}}, Case{{2, 7, 5, 3}, {1, 7, 1, 1}},
        Case{{2, 7, 5, 3}, {5, 1}}, Case{{128, 33}, {33}}, Case{{3, 1, 20000}, {1, 1, 20000}}, Case{{0, 3}, {3}},
        Case{{3, 0}, {1, 0}}, Case{{}, {}}, Case{{2, 3, 4, 5, 6}, {2, 1, 4, 1, 6}}}) {
    SCOPED_TRACE(to_string(c.x) + " to " + to_string(c.y));
    GuardedBuffer<T> x(c.x, random_values<T>(c.x.numel(), 16));
    std::vector<Real> sum(static_cast<std::size_t>(c.y.numel())), size(sum.size());
    for (std::int64_t i = 0; i < c.x.numel(); ++i) {
      std::int64_t rest = i, at = 0, step = 1;
      for (int back = 1; back <= c.x.rank(); ++back) {
        const std::int64_t index = rest % c.x[-back];
        rest /= c.x[-back];
        if (back > c.y.rank()) continue;
        if (c.y[-back] != 1) at += index * step;
        step *= c.y[-back];
      }
      sum[static_cast<std::size_t>(at)] += static_cast<Real>(x[i]);
      size[static_cast<std::size_t>(at)] += std::abs(static_cast<Real>(x[i]));
    }
    const auto y = both_writes<T>(c.y, [&](Grad out) { cpu_backend().reduce->sum_to(x.view(), out); });
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(y[i]), static_cast<double>(sum[i]), 8 * unit<T>() * static_cast<double>(size[i]));
    }
  }
}

TYPED_TEST(ReduceTest, InfinitiesAddUp) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  GuardedBuffer<T> x(Shape{100}, random_values<T>(100, 17)), y(Shape{1});
  x[63] = inf;
  cpu_backend().reduce->reduce(ReduceOp::sum, x.view(), 1, 100, 1, y.grad());
  EXPECT_EQ(y[0], inf);
  x[2] = -inf;
  cpu_backend().reduce->reduce(ReduceOp::sum, x.view(), 1, 100, 1, y.grad());
  EXPECT_TRUE(std::isnan(y[0]));
}

TYPED_TEST(ReduceTest, ArgmaxTakesTheFirst) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 10, 33}) {
    const std::int64_t rows = 3000;
    auto values = random_values<T>(rows * n, 18);
    for (T& value : values) value = std::round(value * 4);
    GuardedBuffer<T> x(Shape{rows, n}, values);
    const auto best = for_threads([&] {
      GuardedBuffer<std::int32_t> y(Shape{rows});
      cpu_backend().reduce->argmax_rows(x.view(), y.view());
      return y.values();
    });
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* const row = x.data() + r * n;
      ASSERT_EQ(best[static_cast<std::size_t>(r)], std::max_element(row, row + n) - row);
    }
  }
}

TYPED_TEST(ReduceTest, SumOfSquares) {
  using T = TypeParam;
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 100000}) {
    GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 19));
    GuardedBuffer<double> y(Shape{1});
    cpu_backend().reduce->sum_of_squares(x.view(), y.view());
    Real sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<Real>(x[i]) * static_cast<Real>(x[i]);
    EXPECT_NEAR(y[0], static_cast<double>(sum), 1e-12 * static_cast<double>(sum));
  }
}

TEST(ReduceSlow, MeanOfAHundredMillion) {
  const std::int64_t n = 100000000;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = 1.0F + static_cast<float>(i % 1000) * 1e-3F;
  Real sum = 0;
  for (std::int64_t i = 0; i < 1000; ++i) sum += static_cast<Real>(x[static_cast<std::size_t>(i)]);
  float mean = 0;
  cpu_backend().reduce->reduce(ReduceOp::mean, ConstView(x.data(), Shape{n}, DType::f32), 1, n, 1,
                               Grad{View{&mean, Shape{}, DType::f32}});
  EXPECT_NEAR(static_cast<double>(mean), static_cast<double>(sum / 1000), 1e-7 * static_cast<double>(sum / 1000));
}

}  // namespace
}  // namespace descent
