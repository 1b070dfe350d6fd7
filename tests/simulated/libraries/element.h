// The element types of the simulated libraries and how values are rounded to them.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <library_types.h>

namespace simulated {

// 0 for a type that is not simulated.
constexpr std::size_t size_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F:
      return 8;
    case CUDA_R_32F:
      return 4;
    case CUDA_R_16BF:
      return 2;
    default:
      return 0;
  }
}

constexpr const char* name_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F:
      return "f64";
    case CUDA_R_32F:
      return "f32";
    case CUDA_R_16BF:
      return "bf16";
    default:
      return "?";
  }
}

inline float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// Rounds away the lowest `dropped` bits, to nearest, ties to even; infinity and NaN are unchanged.
inline float round_bits(float value, int dropped) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7F800000U) == 0x7F800000U) return value;
  const std::uint32_t half = (1U << (dropped - 1)) - 1, odd = (bits >> dropped) & 1U;
  return std::bit_cast<float>((bits + half + odd) & ~((1U << dropped) - 1));
}

// NaN becomes 0x7FFF, as in __float2bfloat16_rn (cuda_bf16.hpp).
inline std::uint16_t to_bf16(float value) {
  if (std::isnan(value)) return 0x7FFF;
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(round_bits(value, 16)) >> 16);
}

// TF32: f32 with 10 bits of mantissa (PTX ISA, "Alternate Floating-Point Data Formats"), rounded to nearest, ties to
// even, as in cuBLAS (documentation, "cublasComputeType_t", CUBLAS_COMPUTE_32F_FAST_TF32). How cuDNN rounds is not
// documented.
inline float to_tf32(float value) { return round_bits(value, 13); }

}  // namespace simulated
