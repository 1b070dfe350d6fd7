// Shared by the convolution kernel tests: geometries, their inputs on the device, and as the reference the CPU
// backend's reference loops in f64, with the sums of magnitudes in which bounds are stated.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"
#include "support/reference_only.h"

#include "cuda/conv/conv.cuh"

namespace descent::gpu {

struct ConvCase {
  std::int64_t images, height, width, channels, out, kernel_h, kernel_w;
  Conv2dFuncOptions g = {};

  std::int64_t out_height() const {
    return (height + 2 * g.padding_h - g.dilation_h * (kernel_h - 1) - 1) / g.stride_h + 1;
  }
  std::int64_t out_width() const {
    return (width + 2 * g.padding_w - g.dilation_w * (kernel_w - 1) - 1) / g.stride_w + 1;
  }
  Shape x() const { return {images, height, width, channels}; }
  Shape w() const { return {out, kernel_h, kernel_w, channels / g.groups}; }
  Shape y() const { return {images, out_height(), out_width(), out}; }
  Shape pooled() const { return {images, out_height() / 2, out_width() / 2, out}; }
  ConvShape shape() const { return conv_shape(g, x(), w(), y()); }
  std::string name() const {
    const auto pair = [](const char* what, std::int64_t h, std::int64_t w) {
      return what + std::to_string(h) + "x" + std::to_string(w);
    };
    return "x " + to_string(x()) + " w " + to_string(w()) + pair(" stride ", g.stride_h, g.stride_w) +
           pair(" pad ", g.padding_h, g.padding_w) + pair(" dilation ", g.dilation_h, g.dilation_w) + " groups " +
           std::to_string(g.groups);
  }
};

inline Conv2dFuncOptions square(std::int64_t stride, std::int64_t pad, std::int64_t dilation = 1,
                                std::int64_t groups = 1) {
  return {stride, stride, pad, pad, dilation, dilation, groups};
}

// Covers every algorithm, odd sizes, thin and wide sides, several tiles of rows, columns and depth, and more tiles
// than the test's grid has blocks.
inline std::vector<ConvCase> conv_cases() {
  return {
      {3, 9, 8, 1, 12, 3, 3, square(1, 1)},
      {1, 28, 28, 1, 32, 3, 3, square(1, 1)},
      {1, 10, 10, 32, 64, 3, 3, square(1, 1)},
      {2, 12, 12, 1, 6, 5, 5, square(1, 2)},
      {2, 8, 9, 6, 16, 5, 5, square(1, 0)},
      {5, 1, 1, 4, 4, 1, 1},
      {33, 2, 2, 1, 1, 2, 2},
      {1, 7, 9, 5, 7, 3, 2, {1, 1, 1, 0, 1, 1, 1}},
      {1, 9, 4, 8, 9, 2, 3, {2, 1, 0, 2, 1, 1, 1}},
      {2, 9, 9, 12, 20, 1, 1, square(2, 0)},
      {1, 6, 5, 12, 68, 3, 3, square(1, 1)},
      {1, 11, 13, 9, 33, 3, 3, square(3, 2)},
      {1, 12, 9, 5, 9, 3, 3, square(1, 2, 2)},
      {1, 13, 12, 9, 10, 3, 3, square(2, 3, 3)},
      {1, 21, 22, 3, 5, 4, 4, square(4, 1, 6)},  // every second row of taps
      {1, 8, 8, 24, 24, 3, 3, square(1, 1, 1, 2)},
      {2, 6, 6, 6, 6, 3, 3, square(1, 1, 1, 6)},
      {1, 9, 8, 8, 12, 3, 3, square(2, 1, 2, 4)},
      {2, 6, 7, 3, 4, 2, 2, square(5, 0)},
      {1, 3, 3, 70, 5, 3, 3, square(1, 1)},  // chains that are split
      {1, 16, 15, 16, 17, 1, 1},             // more row tiles than a grid has blocks
      {1, 3, 3, 2, 3, 3, 3, square(1, 4)},   // pixels that read only padding
  };
}

template <class T>
std::vector<double> in_f64(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

inline std::vector<double> magnitudes(std::vector<double> values) {
  for (double& v : values) v = std::abs(v);
  return values;
}

template <class T>
ConstView view_of(const std::vector<T>& values, const Shape& shape) {
  return {values.data(), shape, dtype_of<T>};
}
inline View view_of(std::vector<double>& values, const Shape& shape) { return {values.data(), shape, DType::f64}; }

// Requires |got - expected| within 16 units of `scale`, the sum of the absolute products.
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<double>& expected, const std::vector<double>& scale,
                  const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(static_cast<double>(got[i]) - expected[i]), 16 * test::unit<T>() * scale[i])
        << what << ", element " << i << ": " << got[i] << ", expected " << expected[i];
  }
}

// A convolution's inputs, `offset` elements after a 16-byte boundary.
template <class T>
struct ConvProblem {
  ConvCase c;
  std::vector<T> x, w, bias, dy;
  int offset;

  explicit ConvProblem(const ConvCase& c_, int offset_ = 0)
      : c(c_),
        x(test::random_values<T>(c.x().numel(), 1)),
        w(test::random_values<T>(c.w().numel(), 2)),
        bias(test::random_values<T>(c.out, 3)),
        dy(test::random_values<T>(c.y().numel(), 4)),
        offset(offset_) {}

  // Calls f(stream, shape, device pointers to x, w, bias and dy, output) with the output initialized to `start`.
  template <class F>
  std::vector<T> run(std::vector<T> start, const F& f) const {
    TestStream stream;
    const DeviceArray<T> x_(x, offset), w_(w, offset), bias_(bias, offset), dy_(dy, offset);
    DeviceArray<T> out(start, offset);
    f(stream, c.shape(), x_.data(), w_.data(), bias_.data(), dy_.data(), out.data());
    return out.host();
  }
  std::vector<T> unset(const Shape& shape) const {
    return std::vector<T>(static_cast<std::size_t>(shape.numel()), std::numeric_limits<T>::quiet_NaN());
  }
};

// The reference for the three primitives, computed from the inputs in f64.
struct ConvReference {
  ConvCase c;
  std::vector<double> x, w, bias, dy;

  template <class T>
  explicit ConvReference(const ConvProblem<T>& p)
      : c(p.c), x(in_f64(p.x)), w(in_f64(p.w)), bias(in_f64(p.bias)), dy(in_f64(p.dy)) {}
  ConvReference in_magnitude() const {
    ConvReference r = *this;
    for (std::vector<double>* v : {&r.x, &r.w, &r.bias, &r.dy}) *v = magnitudes(*v);
    return r;
  }

  std::vector<double> forward(bool with_bias) const {
    const test::ReferenceOnly plain_loops;
    std::vector<double> y(static_cast<std::size_t>(c.y().numel()));
    const ConstView b = with_bias ? view_of(bias, {c.out}) : ConstView();
    cpu::backend().conv->forward(c.g, view_of(x, c.x()), view_of(w, c.w()), b, Activation::none, view_of(y, c.y()));
    return y;
  }
  std::vector<double> data() const {
    const test::ReferenceOnly plain_loops;
    std::vector<double> dx(static_cast<std::size_t>(c.x().numel()));
    cpu::backend().conv->backward_data(c.g, view_of(dy, c.y()), view_of(w, c.w()), {view_of(dx, c.x())});
    return dx;
  }
  std::vector<double> filter() const {
    const test::ReferenceOnly plain_loops;
    std::vector<double> dw(static_cast<std::size_t>(c.w().numel()));
    cpu::backend().conv->backward_filter(c.g, view_of(x, c.x()), view_of(dy, c.y()), {view_of(dw, c.w())});
    return dw;
  }
  std::vector<double> dbias() const {
    std::vector<double> sums(static_cast<std::size_t>(c.out));
    for (std::size_t i = 0; i < dy.size(); ++i) sums[i % sums.size()] += dy[i];
    return sums;
  }
};

// The algorithms that can do a job.
template <class Order, class T>
std::vector<ConvWay> conv_ways(const ConvGather& job) {
  std::vector<ConvWay> ways = {ConvWay::tiles, ConvWay::direct};
  if (conv_patch<Order>(job, sizeof(T)).band > 0) ways.push_back(ConvWay::patches);
  return ways;
}

}  // namespace descent::gpu
