// Conversions between f32 and bf16, callable from host code; the kernels are those of Elementwise::convert.
#pragma once

#include <cstdint>

#include "cuda/runtime/stream.h"

namespace descent::gpu {

void round_to_bf16(Stream& stream, std::int64_t n, const float* x, __nv_bfloat16* y);  // to nearest, ties to even
void widen_bf16(Stream& stream, std::int64_t n, const __nv_bfloat16* x, float* y);

}  // namespace descent::gpu
