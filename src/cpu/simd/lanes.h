// Vectors of the width that the file is compiled for. With GCC's vector extensions one source serves every instruction
// set; everything is in the namespace of its level, so that the linker never mixes them.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef DESCENT_SIMD
#error "files *_simd.cpp are compiled once per level, with DESCENT_SIMD naming it"
#endif

namespace descent::cpu::DESCENT_SIMD {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Vector [[gnu::vector_size(kVectorBytes)]] = float;
  using Mask [[gnu::vector_size(kVectorBytes)]] = std::int32_t;
};
template <>
struct Lanes<double> {
  using Vector [[gnu::vector_size(kVectorBytes)]] = double;
  using Mask [[gnu::vector_size(kVectorBytes)]] = std::int64_t;
};
template <class T>
using Vec = typename Lanes<T>::Vector;
template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
[[gnu::always_inline]] inline Vec<T> load(const T* from) {
  Vec<T> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class T>
[[gnu::always_inline]] inline void store(T* to, Vec<T> v) {
  __builtin_memcpy(to, &v, sizeof v);
}
template <class T>
[[gnu::always_inline]] inline Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}
#if defined(__AVX2__) && !defined(__AVX512F__)
// All bits set in the first n lanes.
template <class T>
[[gnu::always_inline]] inline __m256i first_lanes(std::int64_t n) {
  using Index [[gnu::vector_size(32)]] = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  Index index;
  for (int i = 0; i < kLanes<T>; ++i) index[i] = i;
  using Element = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  return reinterpret_cast<__m256i>(index < static_cast<Element>(n) - Index{});
}
#endif
// The first n < kLanes elements; the others are 0.
template <class T>
[[gnu::always_inline]] inline Vec<T> load_first(const T* from, std::int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1), from);
  if constexpr (sizeof(T) == 8) return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << n) - 1), from);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_maskload_ps(from, first_lanes<T>(n));
  if constexpr (sizeof(T) == 8) return _mm256_maskload_pd(from, first_lanes<T>(n));
#else
  T t[kLanes<T>] = {};
  for (std::int64_t i = 0; i < n; ++i) t[i] = from[i];
  return load(t);
#endif
}
template <class T>
[[gnu::always_inline]] inline void store_first(T* to, Vec<T> v, std::int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << n) - 1), v);
  if constexpr (sizeof(T) == 8) _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1U << n) - 1), v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) _mm256_maskstore_ps(to, first_lanes<T>(n), v);
  if constexpr (sizeof(T) == 8) _mm256_maskstore_pd(to, first_lanes<T>(n), v);
#else
  T t[kLanes<T>];
  store(t, v);
  for (std::int64_t i = 0; i < n; ++i) to[i] = t[i];
#endif
}
// Loads n elements: a whole vector, or the first n lanes of one.
template <class T, bool kWhole>
[[gnu::always_inline]] inline Vec<T> load_some(const T* from, std::int64_t n) {
  if constexpr (kWhole) return load(from);
  return load_first(from, n);
}
template <class T, bool kWhole>
[[gnu::always_inline]] inline void store_some(T* to, Vec<T> v, std::int64_t n) {
  if constexpr (kWhole) return store(to, v);
  store_first(to, v, n);
}
// Calls body.template operator()<whole>(i, n) for the vectors [i, i + n) that cover [0, count).
template <class T, class F>
[[gnu::always_inline]] inline void for_vectors(std::int64_t count, const F& body) {
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) body.template operator()<true>(i, std::int64_t{kLanes<T>});
  if (i < count) body.template operator()<false>(i, count - i);
}
[[gnu::always_inline]] inline Vec<float> square_root(Vec<float> v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xFFFF, v);  // the form without a mask makes g++ 12 warn
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(v);
#elif defined(__aarch64__)
  return vsqrtq_f32(v);
#else
  // Not std::sqrt: the linker would share one definition between all levels.
  for (int i = 0; i < kLanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}
[[gnu::always_inline]] inline Vec<double> square_root(Vec<double> v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_pd(0xFF, v);
#elif defined(__AVX2__)
  return _mm256_sqrt_pd(v);
#elif defined(__x86_64__)
  return _mm_sqrt_pd(v);
#elif defined(__aarch64__)
  return vsqrtq_f64(v);
#else
  for (int i = 0; i < kLanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
#endif
}
// True if a lane of `zeros` is nonzero or NaN.
template <class T>
inline bool any_nonzero(Vec<T> zeros) {
  bool any = false;
  for (int i = 0; i < kLanes<T>; ++i) any = any || zeros[i] != 0;
  return any;
}
template <class T>
[[gnu::always_inline]] inline Vec<T> relu(Vec<T> v) {  // NaN passes
  return v < Vec<T>{} ? Vec<T>{} : v;
}

}  // namespace descent::cpu::DESCENT_SIMD
