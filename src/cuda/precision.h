// How matrix products and convolutions of f32 may round on the GPU: settings of the process, read at every call by
// cuBLASLt (linalg_lt.cpp) and cuDNN (conv_cudnn.cpp). Strict f32 unless the user names something else; f64 never
// changes.
#pragma once

#include "descent/device.h"
#include "descent/dtype.h"

namespace descent::gpu {

using descent::Precision;
using descent::precision;
using descent::set_precision;

// Whether the libraries may end a product or convolution with their own ReLU or GELU: theirs may turn NaN into 0, may
// let the gradient pass where ReLU's argument is 0, and may round the tanh more coarsely than f32. In strict f32 a
// kernel of ours does it, in a pass of its own.
inline bool libraries_activate(DType result) { return result == DType::bf16 || precision() == Precision::tf32; }

}  // namespace descent::gpu
