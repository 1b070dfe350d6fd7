// Element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "descent/export.h"

namespace descent {

// bf16 is a storage type of the CUDA backend; the CPU backend only stores and copies it.
enum class DType : std::uint8_t { f32, f64, i32, u8, bf16 };

DESCENT_API std::size_t size_of(DType dtype);        // bytes per element
DESCENT_API std::string_view name_of(DType dtype);   // "f32", "f64", "i32", "u8", "bf16"
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16; }

// The DType of a C++ type: dtype_of<float> is DType::f32.
template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;

}  // namespace descent
