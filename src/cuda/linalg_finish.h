// What the libraries leave undone at the end of a matrix product or convolution, as a call from host code; the kernel
// is in kernels/linalg.cuh, the instances for float, double and bf16 in linalg.cu.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backend.h"
#include "cuda/queue.h"

namespace descent::gpu {

template <class T>  // the bias beside bf16 is f32
using FinishBias = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T>;

// c = activation(x + beta c + bias) over [rows, n]; x, bias [n] or both may be null: 0. beta 0 does not read c.
template <class T>
void finish(Queue& queue, std::int64_t rows, std::int64_t n, const T* x, double beta, const FinishBias<T>* bias,
            Activation activation, T* c);

}  // namespace descent::gpu
