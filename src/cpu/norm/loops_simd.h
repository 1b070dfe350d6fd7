// Helpers shared by the normalization kernels.
#pragma once

#include "cpu/norm/kernels.h"
#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {

inline constexpr int kColumns = 4;  // vectors in flight

// Calls body.template operator()<columns, whole>(j, n): `columns` vectors from column j on, or one of n elements.
template <class T, class F>
[[gnu::always_inline]] inline void for_columns(std::int64_t width, const F& body) {
  constexpr std::int64_t kAll = kLanes<T>;
  std::int64_t j = 0;
  for (; j + kColumns * kAll <= width; j += kColumns * kAll) body.template operator()<kColumns, true>(j, kAll);
  for (; j + kAll <= width; j += kAll) body.template operator()<1, true>(j, kAll);
  if (j < width) body.template operator()<1, false>(j, width - j);
}

template <class T, bool kWhole>
[[gnu::always_inline]] inline Vec<T> normalized(Vec<T> x, const ChannelScale<T>& p, std::int64_t j, std::int64_t n) {
  return (x - load_some<T, kWhole>(p.mean + j, n)) * load_some<T, kWhole>(p.scale + j, n) +
         load_some<T, kWhole>(p.shift + j, n);
}

// offset + slope * (x - mean): what is subtracted from every element's gradient, whatever its own dz is.
template <class T, bool kWhole>
[[gnu::always_inline]] inline Vec<T> common_part(Vec<T> x, const ChannelGradient<T>& g, std::int64_t j,
                                                 std::int64_t n) {
  return load_some<T, kWhole>(g.offset + j, n) +
         load_some<T, kWhole>(g.slope + j, n) * (x - load_some<T, kWhole>(g.mean + j, n));
}

template <class T, bool kWhole>
[[gnu::always_inline]] inline void write_gradient(T* to, Vec<T> v, std::int64_t n, bool accumulate) {
  store_some<T, kWhole>(to, accumulate ? load_some<T, kWhole>(to, n) + v : v, n);
}

}  // namespace descent::cpu::DESCENT_SIMD
