// What tests of kernels on elements stored in bf16 share. The CPU backend is the reference there too: its primitives
// compute in f32 and round once, so that where f32 has the CPU's bits, bf16 has them.
#pragma once

#include <cmath>
#include <cstdint>
#include <ostream>
#include <type_traits>
#include <vector>

#include "backend.h"
#include "cuda/launch.cuh"
#include "descent/dtype.h"
#include "stored.h"

// Where argument-dependent lookup finds it: bf16 converts to every arithmetic type, and streams know many.
inline std::ostream& operator<<(std::ostream& to, __nv_bfloat16 x) { return to << __bfloat162float(x); }

namespace descent::gpu {

using Bf16 = __nv_bfloat16;

// As dtype_of, which knows no bf16.
template <class T>
constexpr DType type_of() {
  if constexpr (std::is_same_v<T, Bf16>) {
    return DType::bf16;
  } else {
    return dtype_of<T>;
  }
}

// The CPU's view of values. No values have an address too, as in tensors: a null view would be one that is not given.
template <class T>
View view_of(std::vector<T>& values, const Shape& shape) {
  values.reserve(1);
  return {values.data(), shape, type_of<T>()};
}
template <class T>
ConstView view_of(const std::vector<T>& values, const Shape& shape) {
  static const T none{};
  return {values.empty() ? &none : values.data(), shape, type_of<T>()};
}
template <class T>
View view_of(std::vector<T>& values) {
  return view_of(values, Shape{static_cast<std::int64_t>(values.size())});
}

// How far apart two results may lie that were `bound` apart before they were stored as T: of bf16 they may be
// neighbours. Equal ones stay equal.
template <class T>
double stored_bound(double bound, T value) {
  return bound == 0 ? 0 : bound + 2 * storing_unit<T>() * std::abs(static_cast<double>(value));
}

}  // namespace descent::gpu
