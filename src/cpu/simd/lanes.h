// Vectors of the width that the file is compiled for. GCC's vector extensions make one source serve every instruction set;
// everything lives in the namespace of its level, so that the linker never mixes them.
#pragma once

#include <cstdint>

#ifndef DESCENT_SIMD
#error "files of src/cpu/simd are compiled once per level, with DESCENT_SIMD naming it"
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
// The first n < kLanes elements; the others are 0.
template <class T>
[[gnu::always_inline]] inline Vec<T> load_first(const T* from, std::int64_t n) {
  T t[kLanes<T>] = {};
  for (std::int64_t i = 0; i < n; ++i) t[i] = from[i];
  return load(t);
}
template <class T>
[[gnu::always_inline]] inline void store_first(T* to, Vec<T> v, std::int64_t n) {
  T t[kLanes<T>];
  store(t, v);
  for (std::int64_t i = 0; i < n; ++i) to[i] = t[i];
}
template <class T>
[[gnu::always_inline]] inline Vec<T> relu(Vec<T> v) {  // NaN passes
  return v < Vec<T>{} ? Vec<T>{} : v;
}

}  // namespace descent::cpu::DESCENT_SIMD
