// The activations that linear, conv2d and batch_norm can fuse, applied to the result before it is stored.
#pragma once

#include <cstdint>

#include "descent/export.h"

namespace descent {

// relu propagates NaN and has gradient 0 at 0; with bf16 results or Precision::tf32 (set_matmul_precision), vendor
// kernels may differ in both. Only linear fuses gelu_tanh (GELU's approximation by tanh); other ops apply it
// afterwards.
enum class Activation : std::uint8_t { none, relu, gelu_tanh };

}  // namespace descent
