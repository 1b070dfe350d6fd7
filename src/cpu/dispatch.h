// Dispatch from a DType to a C++ type: calls a templated lambda with a value of the type.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <utility>

#include "descent/dtype.h"
#include "descent/error.h"

namespace descent::cpu {

// bf16 on the CPU: the upper half of an f32, rounded to nearest, ties to even.
struct Bf16 {
  std::uint16_t bits = 0;

  Bf16() = default;
  explicit Bf16(float value) {
    const std::uint32_t word = std::bit_cast<std::uint32_t>(value);
    const bool nan = (word & 0x7FFFFFFFU) > 0x7F800000U;
    bits = static_cast<std::uint16_t>(nan ? (word >> 16) | 0x40U : (word + 0x7FFFU + ((word >> 16) & 1U)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

// Calls f(T{}) for f32 and f64; other types are an error.
template <class F>
void for_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw InvalidArgument(fmt::format("cpu: found elements of {}, expected f32 or f64", to_string(dtype)));
  }
}

// Calls f(T{}) for every element type.
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
      return f(Bf16{});
  }
}

}  // namespace descent::cpu
