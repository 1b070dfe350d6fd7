// What the libraries leave undone at the end of a matrix product or convolution, as a call from host code; the kernel
// is in kernels/linalg.cuh, the instances for float and double in linalg.cu.
#pragma once

#include <cstdint>

#include "backend.h"
#include "cuda/queue.h"

namespace descent::gpu {

// c = activation(x + beta c + bias) over [rows, n]; x, bias [n] or both may be null: 0. beta 0 does not read c.
template <class T>
void finish(Queue& queue, std::int64_t rows, std::int64_t n, const T* x, double beta, const T* bias,
            Activation activation, T* c);

}  // namespace descent::gpu
