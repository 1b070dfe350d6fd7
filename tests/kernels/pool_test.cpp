// Pooling kernels: values and codes bit for bit against the CPU backend, sums against reference loops in long double.
// For elements stored in bf16, the CPU gets the same numbers in f32, and its results are rounded once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "device_array.h"
#include "stored.h"
#include "support/backend_test.h"

#include "cuda/pool/pool.cuh"

namespace descent::gpu {
namespace {

using test::random_values;
using test::same_bits;
using test::unit;

struct Case {
  std::int64_t n, h, w, c;
  Pool2dOptions g;

  std::int64_t out_h() const { return (h + 2 * g.padding_h - g.kernel_h) / g.stride_h + 1; }
  std::int64_t out_w() const { return (w + 2 * g.padding_w - g.kernel_w) / g.stride_w + 1; }
  Shape x() const { return {n, h, w, c}; }
  Shape y() const { return {n, out_h(), out_w(), c}; }
  PoolSize size() const { return {n, h, w, c, out_h(), out_w(), g}; }
  bool overlaps() const { return g.stride_h < g.kernel_h || g.stride_w < g.kernel_w; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::int64_t c : {1, 3, 4, 8, 31, 32}) {
    all.push_back({2, 6, 8, c, {}});
    all.push_back({2, 7, 5, c, {}});
    all.push_back({2, 9, 7, c, {3, 3, 2, 2, 1, 1, true}});
    all.push_back({2, 9, 7, c, {3, 3, 2, 2, 1, 1, false}});
    all.push_back({1, 6, 6, c, {3, 2, 1, 1, 1, 0, false}});
    all.push_back({1, 5, 9, c, {2, 2, 3, 3, 0, 1, true}});
  }
  all.push_back({0, 4, 4, 3, {}});
  all.push_back({2, 4, 4, 0, {}});
  all.push_back({1, 1, 1, 4, {1, 1, 1, 1, 0, 0, true}});
  all.push_back({1, 20, 24, 8, {17, 18, 2, 3, 8, 9, true}});  // windows of more than 256 elements
  all.push_back({3, 28, 28, 16, {}});                         // more than a grid covers at once
  return all;
}

// Calls f(element of x, position in the window, element of y) for every pixel of every window.
template <class F>
void for_windows(const Case& t, const F& f) {
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < t.n; ++n) {
    for (std::int64_t oh = 0; oh < t.out_h(); ++oh) {
      for (std::int64_t ow = 0; ow < t.out_w(); ++ow) {
        for (std::int64_t c = 0; c < t.c; ++c, ++out) {
          for (std::int64_t place = 0; place < t.g.kernel_h * t.g.kernel_w; ++place) {
            const std::int64_t h = oh * t.g.stride_h - t.g.padding_h + place / t.g.kernel_w;
            const std::int64_t w = ow * t.g.stride_w - t.g.padding_w + place % t.g.kernel_w;
            if (h < 0 || h >= t.h || w < 0 || w >= t.w) continue;
            f(static_cast<std::size_t>(((n * t.h + h) * t.w + w) * t.c + c), place, static_cast<std::size_t>(out));
          }
        }
      }
    }
  }
}

// Sums and their error bounds: 8 units of the sum of magnitudes, plus the rounding of the stored result.
struct Exact {
  std::vector<long double> sum, magnitude;

  explicit Exact(std::int64_t n) : sum(static_cast<std::size_t>(n)), magnitude(sum.size()) {}
  void add(std::size_t i, long double value) {
    sum[i] += value;
    magnitude[i] += std::abs(value);
  }
  template <class T>
  void expect(const std::vector<T>& got) const {
    ASSERT_EQ(got.size(), sum.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const long double bound = storing_bound<T>(std::abs(sum[i]), 8 * unit<Wide<T>>() * magnitude[i]);
      ASSERT_LE(std::abs(static_cast<long double>(widen(got[i])) - sum[i]), bound) << "element " << i;
    }
  }
};

template <class T>
View view_of(std::vector<T>& values, const Shape& shape) {
  return {values.data(), shape, dtype_of<T>};
}

template <class T>
class PoolKernels : public testing::Test {};
using Stored = testing::Types<float, double, __nv_bfloat16>;
TYPED_TEST_SUITE(PoolKernels, Stored);

template <class T>
std::vector<T> values_with_ties(std::int64_t n) {
  std::vector<T> x = random_values<T>(n, 31);
  for (T& value : x) value = std::round(value * 4) / 4;
  for (std::size_t i = 5; i < x.size(); i += 97) x[i] = std::numeric_limits<T>::quiet_NaN();
  for (std::size_t i = 7; i < x.size(); i += 5) x[i] = -std::numeric_limits<T>::infinity();
  return x;
}

template <class T, class Code>
void check_max(const Case& t, int offset) {
  TestStream stream;
  using V = Wide<T>;
  std::vector<V> x = values_with_ties<V>(t.x().numel()), y(static_cast<std::size_t>(t.y().numel()));
  std::vector<Code> code(y.size());
  cpu::backend().pool->max_forward(t.g, view_of(x, t.x()), view_of(y, t.y()), view_of(code, t.y()));
  const DeviceArray<T> in(stored<T>(x), offset), out(t.y().numel(), offset);
  const DeviceArray<Code> codes(t.y().numel(), offset);
  max_pool(stream, t.size(), in.data(), out.data(), codes.data());
  ASSERT_EQ(codes.host(), code);
  const std::vector<V> got = widened(out.host());
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_TRUE(got[i] == y[i] || (std::isnan(got[i]) && std::isnan(y[i]))) << "element " << i;
  }

  std::vector<V> dy = storable_values<T>(t.y().numel(), 32);
  const std::vector<V> before = storable_values<T>(t.x().numel(), 33);
  const DeviceArray<T> up(stored<T>(dy), offset);
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    DeviceArray<T> dx(t.x().numel(), offset);
    if (write == Write::accumulate) dx.set(stored<T>(before));
    max_pool_backward(stream, t.size(), up.data(), codes.data(), dx.data(), write);
    Exact exact(t.x().numel());
    for_windows(t, [&](std::size_t at, std::int64_t place, std::size_t from) {
      if (code[from] == place) exact.add(at, dy[from]);
    });
    if (write == Write::accumulate) {
      for (std::size_t i = 0; i < before.size(); ++i) exact.add(i, before[i]);
    }
    exact.expect(dx.host());
    if (t.overlaps()) continue;
    std::vector<V> want = before;  // without overlap there are no sums: the same bits
    cpu::backend().pool->max_backward(t.g, view_of(dy, t.y()), view_of(code, t.y()), {view_of(want, t.x()), write});
    ASSERT_EQ(widened(dx.host()), rounded<T>(want));
  }
}

// 2-bit codes mean the same as one-byte codes and give the same bits. The 2-bit codes begin at a 16-byte boundary
// even if the elements do not.
template <class T>
void check_bits(const Case& t, int offset) {
  TestStream stream;
  const std::int64_t outs = t.y().numel();
  const DeviceArray<T> x(stored<T>(values_with_ties<Wide<T>>(t.x().numel())), offset);
  const DeviceArray<T> y(outs, offset), want_y(outs), dy(stored<T>(storable_values<T>(outs, 32)), offset);
  const DeviceArray<std::uint8_t> bytes(outs), bits(outs / 4);
  max_pool(stream, t.size(), x.data(), want_y.data(), bytes.data());
  max_pool_bits(stream, t.size(), x.data(), y.data(), bits.data());
  ASSERT_TRUE(same_bits(widened(y.host()), widened(want_y.host())));
  const std::vector<std::uint8_t> places = bytes.host(), packed = bits.host();
  for (std::size_t i = 0; i < places.size(); ++i) {
    ASSERT_EQ(packed[i / 4] >> 2 * (i % 4) & 3, places[i]) << "element " << i;
  }
  const std::vector<T> before = stored<T>(storable_values<T>(t.x().numel(), 33));
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    DeviceArray<T> dx(t.x().numel(), offset), want(t.x().numel());
    if (write == Write::accumulate) {
      dx.set(before);
      want.set(before);
    }
    max_pool_backward(stream, t.size(), dy.data(), bytes.data(), want.data(), write);
    max_pool_bits_backward(stream, t.size(), dy.data(), bits.data(), dx.data(), write);
    ASSERT_TRUE(same_bits(widened(dx.host()), widened(want.host())));
  }
}

TYPED_TEST(PoolKernels, MaxWithCodesOfTwoBits) {
  int checked = 0;
  for (const Case& t : cases()) {
    if (!takes_pool_bits<TypeParam>(t.g, t.c)) continue;
    ++checked;
    SCOPED_TRACE(to_string(t.x()) + " to " + to_string(t.y()));
    for_schedules([&] {
      for (const int offset : {0, 1}) check_bits<TypeParam>(t, offset);
    });
  }
  EXPECT_GE(checked, 6);
  EXPECT_FALSE(takes_pool_bits<TypeParam>({2, 2, 2, 2, 1, 0, true}, 8));
  EXPECT_FALSE(takes_pool_bits<TypeParam>({3, 2, 2, 2, 0, 0, true}, 8));
  EXPECT_FALSE(takes_pool_bits<TypeParam>({}, kPoolBits<TypeParam> + 2));
}

TYPED_TEST(PoolKernels, Max) {
  for (const Case& t : cases()) {
    SCOPED_TRACE(to_string(t.x()) + " to " + to_string(t.y()));
    for_schedules([&] {
      for (const int offset : {0, 1}) {
        if (t.g.kernel_h * t.g.kernel_w <= 256) {
          check_max<TypeParam, std::uint8_t>(t, offset);
        } else {
          check_max<TypeParam, std::int32_t>(t, offset);
        }
      }
    });
  }
}

// As the backend interface specifies: counts the window's pixels one by one.
std::vector<long double> divisors(const Case& t) {
  std::vector<long double> all;
  for (std::int64_t oh = 0; oh < t.out_h(); ++oh) {
    for (std::int64_t ow = 0; ow < t.out_w(); ++ow) {
      std::int64_t count = 0;
      const std::int64_t padding_h = t.g.count_include_pad ? t.g.padding_h : 0,
                         padding_w = t.g.count_include_pad ? t.g.padding_w : 0;
      for (std::int64_t place = 0; place < t.g.kernel_h * t.g.kernel_w; ++place) {
        const std::int64_t h = oh * t.g.stride_h - t.g.padding_h + place / t.g.kernel_w;
        const std::int64_t w = ow * t.g.stride_w - t.g.padding_w + place % t.g.kernel_w;
        if (h >= -padding_h && h < t.h + padding_h && w >= -padding_w && w < t.w + padding_w) ++count;
      }
      all.push_back(count);
    }
  }
  return all;
}

template <class T>
void check_average(const Case& t, int offset) {
  TestStream stream;
  using V = Wide<T>;
  const std::vector<V> x = storable_values<T>(t.x().numel(), 34), dy = storable_values<T>(t.y().numel(), 35);
  const std::vector<V> before = storable_values<T>(t.x().numel(), 36);
  const std::vector<long double> divisor = divisors(t);
  const auto divisor_of = [&](std::size_t out) {
    return divisor[out / static_cast<std::size_t>(t.c) % divisor.size()];
  };
  const DeviceArray<T> in(stored<T>(x), offset), up(stored<T>(dy), offset), out(t.y().numel(), offset);
  average_pool(stream, t.size(), in.data(), out.data());
  Exact means(t.y().numel());
  for_windows(t, [&](std::size_t at, std::int64_t, std::size_t to) { means.add(to, x[at] / divisor_of(to)); });
  means.expect(out.host());

  for (const Write write : {Write::overwrite, Write::accumulate}) {
    DeviceArray<T> dx(t.x().numel(), offset);
    if (write == Write::accumulate) dx.set(stored<T>(before));
    average_pool_backward(stream, t.size(), up.data(), dx.data(), write);
    Exact shares(t.x().numel());
    for_windows(t,
                [&](std::size_t at, std::int64_t, std::size_t from) { shares.add(at, dy[from] / divisor_of(from)); });
    if (write == Write::accumulate) {
      for (std::size_t i = 0; i < before.size(); ++i) shares.add(i, before[i]);
    }
    shares.expect(dx.host());
  }
}

TYPED_TEST(PoolKernels, Average) {
  for (const Case& t : cases()) {
    SCOPED_TRACE(to_string(t.x()) + " to " + to_string(t.y()) + (t.g.count_include_pad ? "" : " without padding"));
    for_schedules([&] {
      for (const int offset : {0, 1}) check_average<TypeParam>(t, offset);
    });
  }
}

struct Images {
  std::int64_t n, pixels, channels;
};

// The images of the last cases are split into parts.
const std::vector<Images> kImages{{0, 9, 4},  {2, 9, 0},   {3, 1, 1},    {2, 49, 64},   {1, 257, 5},     {4, 16, 33},
                                  {9, 31, 8}, {5, 33, 31}, {1, 2048, 2}, {1, 2049, 12}, {2, 2 * 2253, 3}};

TYPED_TEST(PoolKernels, GlobalAverage) {
  using T = TypeParam;
  for (const Images& s : kImages) {
    SCOPED_TRACE(testing::Message() << s.n << " images of " << s.pixels << " pixels of " << s.channels);
    const auto x = storable_values<T>(s.n * s.pixels * s.channels, 37, -1, 2);
    Exact means(s.n * s.channels);
    for (std::int64_t i = 0; i < s.n * s.pixels * s.channels; ++i) {
      const std::int64_t to = i / (s.pixels * s.channels) * s.channels + i % s.channels;
      means.add(static_cast<std::size_t>(to), x[static_cast<std::size_t>(i)] / static_cast<long double>(s.pixels));
    }
    std::vector<Wide<T>> first;
    for_schedules([&] {
      for (const int offset : {0, 1}) {
        TestStream stream;
        const DeviceArray<T> in(stored<T>(x), offset), out(s.n * s.channels, offset);
        global_average_pool(stream, s.n, s.pixels, s.channels, in.data(), out.data());
        means.expect(out.host());
        if (first.empty()) first = widened(out.host());
        EXPECT_TRUE(same_bits(widened(out.host()), first));
      }
    });
  }
}

TYPED_TEST(PoolKernels, GlobalAverageOfInfinitiesAndNan) {
  using T = TypeParam;
  using V = Wide<T>;
  constexpr V kInfinity = std::numeric_limits<V>::infinity();
  for (const std::int64_t pixels : {40, 5000}) {
    std::vector<V> x(static_cast<std::size_t>(3 * pixels), V(1));
    x[30] = kInfinity;
    x[31] = -kInfinity;
    x[62] = std::numeric_limits<V>::quiet_NaN();
    TestStream stream;
    const DeviceArray<T> in(stored<T>(x)), out(3);
    global_average_pool(stream, 1, pixels, 3, in.data(), out.data());
    const std::vector<V> got = widened(out.host());
    EXPECT_EQ(got[0], kInfinity);
    EXPECT_EQ(got[1], -kInfinity);
    EXPECT_TRUE(std::isnan(got[2]));
  }
}

TYPED_TEST(PoolKernels, GlobalAverageBackwardIsTheSameBits) {
  using T = TypeParam;
  for (const Images& s : kImages) {
    SCOPED_TRACE(testing::Message() << s.n << " images of " << s.pixels << " pixels of " << s.channels);
    auto dy = storable_values<T>(s.n * s.channels, 38);
    const auto before = storable_values<T>(s.n * s.pixels * s.channels, 39);
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      auto want = before;
      cpu::backend().pool->global_average_backward(view_of(dy, {s.n, s.channels}),
                                                   {view_of(want, {s.n, s.pixels, 1, s.channels}), write});
      for_schedules([&] {
        for (const int offset : {0, 1}) {
          TestStream stream;
          const DeviceArray<T> up(stored<T>(dy), offset);
          DeviceArray<T> dx(s.n * s.pixels * s.channels, offset);
          if (write == Write::accumulate) dx.set(stored<T>(before));
          global_average_pool_backward(stream, s.n, s.pixels, s.channels, up.data(), dx.data(), write);
          EXPECT_EQ(widened(dx.host()), rounded<T>(want));
        }
      });
    }
  }
}

}  // namespace
}  // namespace descent::gpu
