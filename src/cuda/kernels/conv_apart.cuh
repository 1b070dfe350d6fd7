// Convolution, ReLU and 2x2 max-pooling as three primitives, where a library's convolution on tensor cores beats one
// fused pass without them. What the pooling does not know is which maxima ReLU had cut to 0.
#pragma once

#include "cuda/launch.cuh"

namespace descent::gpu {

constexpr std::uint8_t kNoGradient = 4;  // the code of Conv::forward_relu_pool

// code = 4 where y is 0. A thread per element: reads y, writes codes of zeros.
template <class T>
__global__ void mark_zeros_kernel(std::int64_t n, const T* y, std::uint8_t* code) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    if (widen(y[i]) <= 0) code[i] = kNoGradient;  // NaN is none
  }
}

template <class T>
void mark_zeros(Queue& q, std::int64_t n, const T* y, std::uint8_t* code) {
  launch(q, "mark_zeros", mark_zeros_kernel<T>, dim3(blocks_for(q, n)), dim3(kThreads), 0, n, y, code);
}

}  // namespace descent::gpu
