// See convert.h.
#include "cuda/convert.h"

#include "cuda/kernels/elementwise.cuh"

namespace descent::gpu {

void round_to_bf16(Queue& queue, std::int64_t n, const float* x, __nv_bfloat16* y) { convert(queue, n, x, y); }
void widen_bf16(Queue& queue, std::int64_t n, const __nv_bfloat16* x, float* y) { convert(queue, n, x, y); }

}  // namespace descent::gpu
