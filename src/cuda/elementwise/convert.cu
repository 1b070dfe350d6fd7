// See convert.h.
#include "cuda/elementwise/convert.h"

#include "cuda/elementwise/elementwise.cuh"

namespace descent::gpu {

void round_to_bf16(Stream& stream, std::int64_t n, const float* x, __nv_bfloat16* y) { convert(stream, n, x, y); }
void widen_bf16(Stream& stream, std::int64_t n, const __nv_bfloat16* x, float* y) { convert(stream, n, x, y); }

}  // namespace descent::gpu
