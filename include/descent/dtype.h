// Element types.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "descent/export.h"

namespace descent {

// bf16 is a storage type for activations, used with f32 parameters (mixed precision, Micikevicius et al., 2018): ops
// compute in f32 and round their results. On the CPU it shows the effect on a model; it is not fast there.
enum class DType : std::uint8_t { f32, f64, i32, u8, bf16 };

DESCENT_API std::size_t size_of(DType dtype);         // bytes per element
DESCENT_API std::string_view to_string(DType dtype);  // "f32", "f64", "i32", "u8", "bf16"
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16; }

// The C++ types of elements; bf16 has none.
template <class T>
concept Element =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::int32_t> || std::same_as<T, std::uint8_t>;

// The DType of a C++ type: dtype_of<float> is DType::f32.
template <Element T>
inline constexpr DType dtype_of = std::same_as<T, float>          ? DType::f32
                                  : std::same_as<T, double>       ? DType::f64
                                  : std::same_as<T, std::int32_t> ? DType::i32
                                                                  : DType::u8;

}  // namespace descent
