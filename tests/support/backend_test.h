// What the tests of the CPU op groups share: guarded buffers, random values, and comparisons in ulps and norms.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/backend.h"
#include "cpu/op_groups.h"

namespace descent::test {

inline Backend& cpu_backend() { return cpu::backend(); }

// Sizes and thread counts to test kernels with: around vector widths and the boundaries of parallel chunks.
inline constexpr std::int64_t kSizes[] = {0, 1, 31, 32, 33, 1025};
inline constexpr int kThreadCounts[] = {1, 2, 4};

// Sets the number of threads while it lives.
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// Elements of T between two fences of 64, at an odd offset, so that unaligned vector loads and out-of-bounds writes
// show. The destructor fails the test if a fence has changed. Elements start as NaN (integers: 200, or a large number).
template <class T>
class GuardedBuffer {
 public:
  explicit GuardedBuffer(const Shape& shape)
      : shape_(shape), all_(static_cast<std::size_t>(shape.numel()) + 2 * kFence + 1) {
    std::memset(all_.data(), kFenceByte, all_.size() * sizeof(T));
    fill(unset());
  }
  GuardedBuffer(const Shape& shape, const std::vector<T>& values) : GuardedBuffer(shape) { set(values); }
  ~GuardedBuffer() { EXPECT_TRUE(fences_intact()) << "written outside of " << to_string(shape_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  T* data() { return all_.data() + kFence + 1; }
  const T* data() const { return all_.data() + kFence + 1; }
  std::int64_t size() const { return shape_.numel(); }
  const Shape& shape() const { return shape_; }
  T& operator[](std::int64_t i) { return data()[i]; }
  T operator[](std::int64_t i) const { return data()[i]; }

  View view() { return View{data(), shape_, dtype_of<T>}; }
  View view(const Shape& shape) { return View{data(), shape, dtype_of<T>}; }
  Grad grad(Write write = Write::overwrite) { return Grad{view(), write}; }

  void fill(T value) { std::fill_n(data(), size(), value); }
  void set(const std::vector<T>& values) {
    ASSERT_EQ(static_cast<std::int64_t>(values.size()), size());
    std::copy(values.begin(), values.end(), data());
  }
  std::vector<T> values() const { return std::vector<T>(data(), data() + size()); }

  bool fences_intact() const {
    const std::size_t end = kFence + 1 + static_cast<std::size_t>(size());
    const auto intact = [this](std::size_t first, std::size_t last) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(all_.data());
      return std::all_of(bytes + first * sizeof(T), bytes + last * sizeof(T),
                         [](unsigned char b) { return b == kFenceByte; });
    };
    return intact(0, kFence + 1) && intact(end, all_.size());
  }

 private:
  static constexpr std::size_t kFence = 64;
  static constexpr unsigned char kFenceByte = 0xA5;
  static T unset() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(200);
  }

  Shape shape_;
  std::vector<T> all_;
};

// n uniform numbers of [low, high), by std::mt19937_64; in random_values.cpp, as its header takes long to compile.
std::vector<double> random_doubles(std::int64_t n, unsigned seed, double low, double high);

template <class T>
std::vector<T> random_values(std::int64_t n, unsigned seed, double low = -1, double high = 1) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(n));
  for (const double value : random_doubles(n, seed, low, high)) values.push_back(static_cast<T>(value));
  return values;
}

// Distance of a and b in units in the last place; 0 if both are NaN or equal, the largest number if only one is NaN.
template <class T>
std::uint64_t ulps(T a, T b) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : ~std::uint64_t{0};
  if (a == b) return 0;
  const auto ordered = [](T x) {
    Bits bits;
    std::memcpy(&bits, &x, sizeof x);
    constexpr Bits top = Bits{1} << (8 * sizeof(T) - 1);
    return (bits & top) != 0 ? static_cast<Bits>(~bits + 1) : static_cast<Bits>(bits | top);
  };
  const Bits x = ordered(a), y = ordered(b);
  return x > y ? x - y : y - x;
}

// |a - b| / max(|a|, |b|) in the Euclidean norm over all elements; 0 when both are zero.
template <class A, class B>
double norm_error(const std::vector<A>& a, const std::vector<B>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm_a = 0, norm_b = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    norm_a += x * x;
    norm_b += y * y;
  }
  const double norm = std::sqrt(std::max(norm_a, norm_b));
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference) / norm;
}

// Half the distance from 1 to the next number: the unit in which error bounds are stated.
template <class T>
constexpr double unit() {
  return static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
}

template <class T>
testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " against " << b.size() << " elements";
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      return testing::AssertionFailure() << "element " << i << ": " << +a[i] << " against " << +b[i];
    }
  }
  return testing::AssertionSuccess();
}

// Runs compute() (which returns a vector) with 1, 2 and 4 threads and expects the same bits; returns the first result.
template <class F>
auto for_threads(const F& compute) {
  const Threads one(1);
  const auto first = compute();
  for (const int n : {2, 4}) {
    const Threads more(n);
    EXPECT_TRUE(same_bits(first, compute())) << "with " << n << " threads";
  }
  return first;
}

// Runs write(Grad), which must fill all of `shape`, in both modes, expects accumulation to add, and returns the
// overwritten values. `tolerance` is in units of the type, relative to the larger of the two terms: an accumulation may
// round in another order.
template <class T, class F>
std::vector<T> both_writes(const Shape& shape, const F& write, double tolerance = 4) {
  GuardedBuffer<T> overwritten(shape), accumulated(shape);
  write(overwritten.grad(Write::overwrite));
  const std::vector<T> start = random_values<T>(shape.numel(), 77);
  accumulated.set(start);
  write(accumulated.grad(Write::accumulate));
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const double a = static_cast<double>(start[static_cast<std::size_t>(i)]), b = static_cast<double>(overwritten[i]);
    if (std::isnan(b)) {
      EXPECT_TRUE(std::isnan(accumulated[i])) << "element " << i;
      continue;
    }
    if (std::isinf(b)) {
      EXPECT_EQ(accumulated[i], overwritten[i]) << "element " << i;
      continue;
    }
    EXPECT_NEAR(static_cast<double>(accumulated[i]), a + b, tolerance * unit<T>() * std::max(std::abs(a), std::abs(b)))
        << "accumulated element " << i;
  }
  return overwritten.values();
}

}  // namespace descent::test
