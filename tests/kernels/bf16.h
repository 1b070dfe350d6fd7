// Shared by the tests of kernels on elements stored in bf16. The CPU backend is the reference here too: its
// primitives compute in f32 and round once, so bf16 results have the CPU's bits if f32 results do.
#pragma once

#include <cmath>
#include <cstdint>
#include <ostream>
#include <type_traits>
#include <vector>

#include "backend/backend.h"
#include "cuda/runtime/launch.cuh"
#include "descent/dtype.h"
#include "stored.h"

// For argument-dependent lookup: bf16 converts to every arithmetic type, so a stream's own operators are ambiguous.
inline std::ostream& operator<<(std::ostream& to, __nv_bfloat16 x) { return to << __bfloat162float(x); }

namespace descent::gpu {

using Bf16 = __nv_bfloat16;

// Like dtype_of, which does not support bf16.
template <class T>
constexpr DType type_of() {
  if constexpr (std::is_same_v<T, Bf16>) {
    return DType::bf16;
  } else {
    return dtype_of<T>;
  }
}

// The CPU's view of the values. As in tensors, empty data has an address too: a null view means an absent argument.
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

// The largest distance between two results that were within `bound` before they were stored as T: in bf16 they may
// become adjacent numbers. Equal results stay equal.
template <class T>
double stored_bound(double bound, T value) {
  return bound == 0 ? 0 : bound + 2 * storing_unit<T>() * std::abs(static_cast<double>(value));
}

}  // namespace descent::gpu
