// Products that are rounded on their own: nvcc makes one FMA of a product and the sum it enters, unless told not to.
// The tests' g++ contracts nothing and has no such functions.
#pragma once

#include "cuda/launch.cuh"

namespace descent::gpu {

#if defined(DESCENT_SIMT)
template <class T>
T rounded_product(T a, T b) {
  return a * b;
}
#else
__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }
#endif

}  // namespace descent::gpu
