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

// c = relu(c + bias) over [rows, n], and the elements that let a gradient pass, which are those that are not <= 0 (so
// NaN does), as bits. The layout is what cuBLASLt reads: element j of a row is bit j % 8 of byte j / 8, and a row takes
// relu_pitch(n) bytes; the bits behind its end are 0. bias may be null.
template <class T>
void finish_relu(Queue& queue, std::int64_t rows, std::int64_t n, const FinishBias<T>* bias, T* c, std::uint8_t* bits);

inline std::int64_t relu_pitch(std::int64_t n) { return (n + 127) / 128 * 16; }

}  // namespace descent::gpu
