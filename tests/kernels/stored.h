// Helpers for tests of kernels whose activations may be stored in bf16: inputs are numbers that the storage type T
// represents exactly, expected results are computed in Wide<T> or better, and bounds allow for the one rounding of a
// stored result. For f32 and f64 these helpers change nothing.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "cuda/runtime/launch.cuh"
#include "support/backend_test.h"

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

// Relative error of storing a result: half of bf16's distance from 1 to the next number.
template <class T>
constexpr double storing_unit() {
  return kIsWide<T> ? 0 : 1.0 / 256;
}

// Error bound of a stored result of magnitude `size` whose error before storing is at most `bound`.
template <class T>
long double storing_bound(long double size, long double bound) {
  return bound + static_cast<long double>(storing_unit<T>()) * (size + bound);
}

}  // namespace descent::gpu
