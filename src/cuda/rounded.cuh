// Products that are rounded on their own: nvcc makes one FMA of a product and the sum it enters, unless told not to.
#pragma once

#include "cuda/launch.cuh"

namespace descent::gpu {

__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }

}  // namespace descent::gpu
