// The precision of f32 matrix products and convolutions on the GPU: process-wide settings, read at every call by
// cublaslt.cpp (cuBLASLt), gemm.cu (cuBLAS) and cudnn.cpp (cuDNN). Strict f32 by default; f64 is not affected.
#pragma once

#include "descent/device.h"
#include "descent/dtype.h"

namespace descent::gpu {

using descent::Precision;
using descent::precision;
using descent::set_matmul_precision;

// Whether the libraries may fuse their own ReLU or GELU into a product or convolution. Theirs may turn NaN into 0, may
// pass the gradient where ReLU's argument is 0, and may compute tanh less accurately than f32. In strict f32, our own
// kernel applies the activation in a separate pass.
inline bool libraries_activate(DType result) { return result == DType::bf16 || precision() == Precision::tf32; }

}  // namespace descent::gpu
