// Epilogues of matrix products and convolutions that the libraries don't fuse, callable from host code. The kernels are
// in gemm.cuh; gemm.cu instantiates them for float, bf16 and, except epilogue_relu, double.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backend/backend.h"
#include "cuda/runtime/stream.h"

namespace descent::gpu {

template <class T>  // with bf16 the bias is f32
using EpilogueBias = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T>;

// c = activation(x + beta c + bias) over [rows, n]; a null x or bias [n] counts as 0, and c is not read if beta is 0.
// The activation is none or relu.
template <class T>
void epilogue(Stream& stream, std::int64_t rows, std::int64_t n, const T* x, double beta, const EpilogueBias<T>* bias,
              Activation activation, T* c);

// c = relu(c + bias) over [rows, n], and a mask of the elements that pass a gradient: those that are not <= 0, so NaN
// passes it. The layout is cuBLASLt's: element j of a row is bit j % 8 of byte j / 8, a row takes relu_pitch(n) bytes,
// and bits past its end are 0. bias may be null.
template <class T>
void epilogue_relu(Stream& stream, std::int64_t rows, std::int64_t n, const EpilogueBias<T>* bias, T* c,
                   std::uint8_t* bits);

inline std::int64_t relu_pitch(std::int64_t n) { return (n + 127) / 128 * 16; }

}  // namespace descent::gpu
