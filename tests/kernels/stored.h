// Tests of kernels whose activations may be stored in bf16: they are given numbers that the storage type T holds
// exactly, compute what they expect in Wide<T> or better, and allow for the one rounding of a stored result. For f32
// and f64 all of this does nothing.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "backend_test.h"
#include "cuda/launch.cuh"

namespace descent::gpu {

template <class T>
constexpr bool kIsWide = std::is_same_v<T, Wide<T>>;

template <class T>
Wide<T> rounded(Wide<T> x) {
  return widen(narrow<T>(x));
}

template <class T>
std::vector<T> stored(const std::vector<Wide<T>>& x) {
  std::vector<T> y;
  y.reserve(x.size());
  for (const Wide<T> value : x) y.push_back(narrow<T>(value));
  return y;
}

template <class T>
std::vector<Wide<T>> widened(const std::vector<T>& x) {
  std::vector<Wide<T>> y;
  y.reserve(x.size());
  for (const T value : x) y.push_back(widen(value));
  return y;
}

template <class T>
std::vector<Wide<T>> rounded(const std::vector<Wide<T>>& x) {
  return widened(stored<T>(x));
}

template <class T>
std::vector<Wide<T>> storable_values(std::int64_t n, unsigned seed, double low = -1, double high = 1) {
  return rounded<T>(test::random_values<Wide<T>>(n, seed, low, high));
}

// What storing a result may move it by, relative to itself: half of bf16's distance from 1 to the next number.
template <class T>
constexpr double storing_unit() {
  return kIsWide<T> ? 0 : 1.0 / 256;
}

// How far a stored result may lie from what it should be, of this size, if it may be off by `bound` before.
template <class T>
long double storing_bound(long double size, long double bound) {
  return bound + static_cast<long double>(storing_unit<T>()) * (size + bound);
}

}  // namespace descent::gpu
