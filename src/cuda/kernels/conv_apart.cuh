// The end of convolution and 2x2 max-pooling as primitives of their own, where a library's convolution on tensor cores
// beats one fused pass without them. ReLU comes last: it and a maximum change places, and behind the pooling there is a
// quarter to do.
#pragma once

#include "cuda/launch.cuh"

namespace descent::gpu {

constexpr std::uint8_t kNoGradient = 4;  // the code of Conv::forward_relu_pool

// y = relu(y), code = 4 where that is 0. A thread per element: reads y, writes what changes. NaN stays, with its code.
template <class T>
__global__ void relu_pooled_kernel(std::int64_t n, T* y, std::uint8_t* code) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const Wide<T> value = widen(y[i]);
    if (value < 0) y[i] = narrow<T>(0);
    if (value <= 0) code[i] = kNoGradient;
  }
}

template <class T>
void relu_pooled(Queue& q, std::int64_t n, T* y, std::uint8_t* code) {
  launch(q, "relu_pooled", relu_pooled_kernel<T>, dim3(blocks_for(q, n)), dim3(kThreads), 0, n, y, code);
}

}  // namespace descent::gpu
