// softmax, log_softmax and their gradients on a device against the CPU's, for rows held by part of a warp, a warp or
// a block, and for rows that are streamed.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/softmax/backward.cuh"
#include "cuda/softmax/softmax.cuh"

namespace descent::gpu {
namespace {

using test::cpu_backend;
using test::random_values;
using test::same_bits;
using test::unit;

struct RowsOf {
  std::int64_t rows, n;
  Shape shape() const { return {rows, n}; }
  std::string text(int offset) const { return to_string(shape()) + " at " + std::to_string(offset); }
};

const std::vector<RowsOf>& row_sizes() {
  static const std::vector<RowsOf> all{
      {0, 3},    {3, 0},    {1, 1},    {800, 1},  {257, 2},  {33, 3},   {31, 4},   {33, 5},    {200, 10}, {30, 31},
      {5, 32},   {30, 33},  {3, 64},   {30, 65},  {4, 255},  {3, 256},  {2, 257},  {2, 512},   {2, 513},  {1, 1024},
      {4, 1025}, {1, 2048}, {5, 2049}, {1, 4097}, {1, 8192}, {3, 8193}, {2, 9001}, {1, 20000},
  };
  return all;
}

template <class T>
bool both_nan(T a, T b) {
  return std::isnan(a) && std::isnan(b);
}

template <class T>
std::vector<T> on_cpu(bool log, const RowsOf& size, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  const ConstView from(x.data(), size.shape(), dtype_of<T>);
  const View to{y.data(), size.shape(), dtype_of<T>};
  if (log) {
    cpu_backend().softmax->log_softmax(from, to);
  } else {
    cpu_backend().softmax->softmax(from, to);
  }
  return y;
}

template <class T>
std::vector<T> on_device(bool log, const RowsOf& size, const std::vector<T>& x, int offset) {
  TestStream stream;
  const DeviceArray<T> from(x, offset);
  DeviceArray<T> y(static_cast<std::int64_t>(x.size()), offset);
  if (log) {
    log_softmax<T>(stream, from.data(), y.data(), size.rows, size.n);
  } else {
    softmax<T>(stream, from.data(), y.data(), size.rows, size.n);
  }
  return y.host();
}

// Error of softmax: two exponentials within 4 ulp, their sum within 8 u, a quotient; of log_softmax: that of the sum.
template <class T>
void check_forward(const RowsOf& size, const std::vector<T>& x, int offset) {
  SCOPED_TRACE(size.text(offset));
  const std::vector<T> y = on_device(false, size, x, offset), want = on_cpu(false, size, x);
  const std::vector<T> log_y = on_device(true, size, x, offset), log_want = on_cpu(true, size, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!both_nan(y[i], want[i])) {
      const double least = static_cast<double>(std::numeric_limits<T>::denorm_min());
      ASSERT_NEAR(y[i], want[i], 24 * unit<T>() * static_cast<double>(want[i]) + 2 * least) << "element " << i;
    }
    if (both_nan(log_y[i], log_want[i]) || log_y[i] == log_want[i]) continue;
    ASSERT_NEAR(log_y[i], log_want[i], 8 * unit<T>() * (1 + std::abs(static_cast<double>(log_want[i]))))
        << "element " << i << " of log_softmax";
  }
}

TEST(SoftmaxKernels, AllLengths) {
  for (const RowsOf& size : row_sizes()) {
    for (const int offset : {0, 1}) {
      check_forward(size, random_values<float>(size.shape().numel(), 1, -8, 8), offset);
      check_forward(size, random_values<double>(size.shape().numel(), 2, -8, 8), offset);
    }
  }
}

TEST(SoftmaxKernels, Schedules) {
  for_schedules([] {
    for (const RowsOf& size : {RowsOf{33, 10}, RowsOf{3, 100}, RowsOf{2, 1500}, RowsOf{1, 8300}}) {
      check_forward(size, random_values<float>(size.shape().numel(), 3, -8, 8), 0);
      check_forward(size, random_values<double>(size.shape().numel(), 4, -8, 8), 0);
    }
  });
}

// Rows whose maximum comes late, that begin with -inf, contain NaN or infinities, or consist of -inf only.
template <class T>
void check_special_rows(std::int64_t n) {
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const RowsOf size{9, n};
  std::vector<T> x = random_values<T>(size.shape().numel(), 5, -4, 4);
  const auto row = [&](std::int64_t r, auto value) {
    for (std::int64_t j = 0; j < n; ++j) value(x[static_cast<std::size_t>(r * n + j)], j);
  };
  row(0, [](T& v, std::int64_t) { v = -inf; });
  row(1, [n](T& v, std::int64_t j) { v = j < n - 1 ? -inf : v; });
  row(2, [n](T& v, std::int64_t j) { v = j == n / 2 ? nan : v; });
  row(3, [n](T& v, std::int64_t j) { v = j == n / 2 ? nan : -inf; });
  row(4, [n](T& v, std::int64_t j) { v = j == n / 3 ? inf : v; });
  row(5, [n](T& v, std::int64_t j) { v = static_cast<T>(static_cast<double>(j) * 100.0 / static_cast<double>(n)); });
  row(6, [](T& v, std::int64_t j) { v = static_cast<T>(j % 2 == 0 ? 1e37 : -1e37); });
  row(7, [](T& v, std::int64_t j) { v = static_cast<T>(j % 3 == 0 ? 88.73 : -88.73); });
  row(8, [n](T& v, std::int64_t j) { v = j < n / 2 ? -inf : v; });
  check_forward(size, x, 0);
}

TEST(SoftmaxKernels, SpecialRows) {
  for (const std::int64_t n : {2, 10, 33, 200, 1000, 3000, 9000}) {
    check_special_rows<float>(n);
    check_special_rows<double>(n);
  }
}

TEST(SoftmaxKernels, InPlace) {
  for (const RowsOf& size : {RowsOf{33, 10}, RowsOf{1, 8300}}) {
    TestStream stream;
    const std::vector<float> x = random_values<float>(size.shape().numel(), 6);
    const DeviceArray<float> y(x);
    softmax<float>(stream, y.data(), y.data(), size.rows, size.n);
    EXPECT_TRUE(same_bits(y.host(), on_device(false, size, x, 0)));
  }
}

template <class T>
void check_backward(const RowsOf& size, int offset) {
  SCOPED_TRACE(size.text(offset));
  TestStream stream;
  const std::int64_t count = size.shape().numel();
  const std::vector<T> dy = random_values<T>(count, 7), before = random_values<T>(count, 8);
  for (const bool log : {false, true}) {
    const std::vector<T> y = on_cpu(log, size, random_values<T>(count, 9, -8, 8));
    const DeviceArray<T> y_at(y, offset), dy_at(dy, offset);
    const auto share = [&](std::size_t i) {  // element i's share of the row's sum
      return log ? std::exp(static_cast<double>(y[i])) : static_cast<double>(y[i]);
    };
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      DeviceArray<T> dx(before, offset);
      std::vector<T> want(before);
      const ConstView y_view(y.data(), size.shape(), dtype_of<T>), dy_view(dy.data(), size.shape(), dtype_of<T>);
      const Grad grad{View{want.data(), size.shape(), dtype_of<T>}, write};
      if (log) {
        log_softmax_backward<T>(stream, y_at.data(), dy_at.data(), size.rows, size.n, dx.data(), write);
        cpu_backend().softmax->log_softmax_backward(y_view, dy_view, grad);
      } else {
        softmax_backward<T>(stream, y_at.data(), dy_at.data(), size.rows, size.n, dx.data(), write);
        cpu_backend().softmax->softmax_backward(y_view, dy_view, grad);
      }
      const std::vector<T> got = dx.host();
      double sizes = 0;  // the sum of the magnitudes of the row's terms
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::size_t n = static_cast<std::size_t>(size.n), first = i / n * n;
        if (i == first) {
          sizes = 0;
          for (std::size_t j = first; j < first + n; ++j) {
            sizes += std::abs(static_cast<double>(dy[j]) * (log ? 1 : static_cast<double>(y[j])));
          }
        }
        const double own = std::abs(static_cast<double>(dy[i])) * (log ? 1 : share(i));
        const double start = write == Write::accumulate ? std::abs(static_cast<double>(before[i])) : 0;
        ASSERT_NEAR(got[i], want[i], unit<T>() * (16 * (own + share(i) * sizes) + 2 * start)) << "element " << i;
      }
    }
  }
}

TEST(SoftmaxKernels, Backward) {
  for (const RowsOf& size : row_sizes()) {
    for (const int offset : {0, 1}) {
      check_backward<float>(size, offset);
      check_backward<double>(size, offset);
    }
  }
}

TEST(SoftmaxKernels, BackwardSchedules) {
  for_schedules([] {
    for (const RowsOf& size : {RowsOf{33, 10}, RowsOf{3, 100}, RowsOf{2, 1500}, RowsOf{1, 5000}}) {
      check_backward<float>(size, 0);
      check_backward<double>(size, 0);
    }
  });
}

}  // namespace
}  // namespace descent::gpu
