// How matrix products and convolutions of f32 may round on the GPU: settings of the process, read at every call by
// cuBLASLt (linalg_lt.cpp) and cuDNN (conv_cudnn.cpp). Strict f32 unless the user names something else; f64 never
// changes.
#pragma once

#include <atomic>

#include "descent/device.h"

namespace descent::gpu {

using descent::Precision;
using descent::precision;
using descent::set_precision;

namespace settings {
inline std::atomic<bool> relu_passes_nan{true};
}  // namespace settings

// The libraries' own fused ReLU may turn NaN into 0, so by default a kernel of ours does it, in a pass of its own. With
// `false` the libraries may fuse it: a little faster, and NaN may vanish.
inline void set_relu_passes_nan(bool passes) { settings::relu_passes_nan.store(passes, std::memory_order_relaxed); }
inline bool relu_passes_nan() { return settings::relu_passes_nan.load(std::memory_order_relaxed); }

}  // namespace descent::gpu
