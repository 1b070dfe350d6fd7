// Helpers for tests of CPU kernels: fenced buffers at odd offsets, seeded numbers, and runs with 1, 2 and 4 threads.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/backend.h"
#include "cpu/op_groups.h"
#include "descent/device.h"
#include "support/reference_only.h"

namespace descent::test {

// Elements between two fences. They start one element past an aligned address, so vector loads are unaligned.
template <class T>
class Fenced {
 public:
  explicit Fenced(std::int64_t n, T value = poison())
      : n_(n), all_(static_cast<std::size_t>(n + 2 * kFence + 1), poison()) {
    for (std::int64_t i = 0; i < n; ++i) data()[i] = value;
  }
  T* data() { return all_.data() + kFence + 1; }
  const T* data() const { return all_.data() + kFence + 1; }
  std::int64_t size() const { return n_; }
  T& operator[](std::int64_t i) { return data()[i]; }
  const T& operator[](std::int64_t i) const { return data()[i]; }

  View view(const Shape& shape) { return {data(), shape, dtype_of<T>}; }
  ConstView view(const Shape& shape) const { return {data(), shape, dtype_of<T>}; }
  bool fences_hold() const {
    const T expected = poison();
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(all_.size()); ++i) {
      if (i > kFence && i <= kFence + n_) continue;
      if (std::memcmp(&all_[static_cast<std::size_t>(i)], &expected, sizeof(T)) != 0) return false;
    }
    return true;
  }
  friend bool same_bits(const Fenced& a, const Fenced& b) {
    return a.n_ == b.n_ && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.n_) * sizeof(T)) == 0;
  }

 private:
  static constexpr std::int64_t kFence = 37;
  static T poison() {
    if constexpr (std::numeric_limits<T>::has_quiet_NaN) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(0x5A);
  }
  std::int64_t n_;
  std::vector<T> all_;
};

class Numbers {  // uniform in [-1, 1), the same on every machine
 public:
  explicit Numbers(std::uint64_t seed = 1) : state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  double next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<double>(state_ >> 11) * 0x1p-52 - 1;
  }
  template <class T>
  Fenced<T> fenced(std::int64_t n, double scale = 1, double shift = 0) {
    Fenced<T> f(n);
    for (std::int64_t i = 0; i < n; ++i) f[i] = static_cast<T>(next() * scale + shift);
    return f;
  }

 private:
  std::uint64_t state_;
};

template <class F>
auto with_threads(int threads, F&& f) {
  struct Restore {
    ~Restore() { set_num_threads(0); }
  } const restore;
  set_num_threads(threads);
  return f();
}

// f() returns Fenced results (or a struct with same_bits and fences_hold): the same bits for 1, 2 and 4 threads.
template <class F>
auto same_for_all_threads(F&& f) {
  auto one = with_threads(1, f);
  EXPECT_TRUE(same_bits(one, with_threads(2, f))) << "2 threads";
  EXPECT_TRUE(same_bits(one, with_threads(4, f))) << "4 threads";
  return one;
}

}  // namespace descent::test
