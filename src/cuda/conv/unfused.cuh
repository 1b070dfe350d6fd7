// ReLU after a separate convolution and 2x2 max-pooling, for when a library's convolution on tensor cores beats one
// fused pass without them. ReLU commutes with the maximum, so it comes last, on a quarter of the elements.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

constexpr std::uint8_t kNoGradient = 4;  // as in Conv::forward

// y = relu(y), code = 4 if that is 0. One thread per element: reads y, writes what changes. NaN keeps its code.
template <class T>
__global__ void relu_pooled_kernel(std::int64_t n, T* y, std::uint8_t* code) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const Wide<T> value = widen(y[i]);
    if (value < 0) y[i] = narrow<T>(0);
    if (value <= 0) code[i] = kNoGradient;
  }
}

template <class T>
void relu_pooled(Stream& stream, std::int64_t n, T* y, std::uint8_t* code) {
  launch(stream, "relu_pooled", relu_pooled_kernel<T>, dim3(blocks_for(stream, n)), dim3(kThreads), 0, n, y, code);
}

}  // namespace descent::gpu
