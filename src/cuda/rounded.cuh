// Products that are rounded before they are added: by default nvcc contracts a product and a sum to one FMA.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }

}  // namespace descent::gpu
