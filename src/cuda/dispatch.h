// Dispatch from a DType to a C++ type: calls a generic lambda with a value of that type.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <string>
#include <utility>

#include "descent/dtype.h"
#include "descent/error.h"

namespace descent::gpu {

// f(T{}) for f32 and f64.
template <class F>
void for_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw InvalidArgument("cuda: found elements of " + std::string(to_string(dtype)) + ", expected f32 or f64");
  }
}

// f(T{}) for f32, f64 and bf16: the types in which activations are stored.
template <class F>
void for_storage(DType dtype, F&& f) {
  if (dtype == DType::bf16) return f(__nv_bfloat16{});
  for_floating(dtype, std::forward<F>(f));
}

// f(T{}) for every element type.
template <class F>
void for_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::u8:
      return f(std::uint8_t{});
    case DType::bf16:
      return f(__nv_bfloat16{});
  }
}

}  // namespace descent::gpu
