// Matrix-vector products, bound by reading the matrix once.
#pragma once

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {

template <class T>
[[gnu::always_inline]] inline T sum_lanes(Vec<T> v) {
  T sum = 0;
  for (int i = 0; i < kLanes<T>; ++i) sum += v[i];
  return sum;
}

// kRows dot products at once; each is summed in the same order for any kRows.
template <class T, int kRows>
[[gnu::always_inline]] inline void dot_some(const T* w, const T* x, std::int64_t k, T* y) {
  Vec<T> acc[kRows][2] = {};
  std::int64_t p = 0;
  for (; p + 2 * kLanes<T> <= k; p += 2 * kLanes<T>) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      acc[i][0] += load(w + i * k + p) * load(x + p);
      acc[i][1] += load(w + i * k + p + kLanes<T>) * load(x + p + kLanes<T>);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    T sum = sum_lanes<T>(acc[i][0] + acc[i][1]);
    for (std::int64_t q = p; q < k; ++q) sum += w[i * k + q] * x[q];
    y[i] = sum;
  }
}

template <class T>
void dot_rows(const T* w, const T* x, std::int64_t rows, std::int64_t k, T* y) {
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4) dot_some<T, 4>(w + i * k, x, k, y + i);
  for (; i < rows; ++i) dot_some<T, 1>(w + i * k, x, k, y + i);
}

template <class T>
void combine_rows(const T* w, std::int64_t stride, const T* x, std::int64_t k, std::int64_t cols, T* y) {
  constexpr int kWide = 8;
  std::int64_t j = 0;
  for (; j + kWide * kLanes<T> <= cols; j += kWide * kLanes<T>) {
    Vec<T> acc[kWide] = {};
    for (std::int64_t p = 0; p < k; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < kWide; ++i) acc[i] += broadcast(x[p]) * load(w + p * stride + j + i * kLanes<T>);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kWide; ++i) store(y + j + i * kLanes<T>, acc[i]);
  }
  for (; j < cols; j += kLanes<T>) {
    const std::int64_t n = cols - j < kLanes<T> ? cols - j : kLanes<T>;
    Vec<T> acc{};
    for (std::int64_t p = 0; p < k; ++p) {
      const T* row = w + p * stride + j;
      acc += broadcast(x[p]) * (n == kLanes<T> ? load(row) : load_first(row, n));
    }
    n == kLanes<T> ? store(y + j, acc) : store_first(y + j, acc, n);
  }
}

}  // namespace descent::cpu::DESCENT_SIMD
