// f32 and bf16 convolutions through cuDNN, in builds that have it (DESCENT_HAS_CUDNN). Each function returns false,
// having queued nothing that matters, where cuDNN cannot be started, or has no engine that keeps our rules
// (conv_cudnn_plan.cpp); the caller's own kernels then do it. Throws DeviceError where an engine fails as it is queued.
#pragma once

#include <cstdint>
#include <string>

#include "backend.h"

namespace descent::gpu {

class Context;  // context.h

// Whether a library's tiles, which are for dozens of channels, are worth their overhead: not for thin layers (few
// channels on a side, or in a group), nor for f64. The channels are those of one group.
inline bool worth_cudnn(DType dtype, std::int64_t in_channels, std::int64_t out_channels) {
  constexpr std::int64_t kThin = 8;
  return dtype != DType::f64 && in_channels > kThin && out_channels > kThin;
}

// Starts cuDNN on the device if nobody has yet: why it could not be started, empty where it could.
std::string cudnn_failure(Context& context);

bool cudnn_forward(Context& context, const ConvGeometry& g, ConstView x, ConstView w, ConstView bias /* or empty */,
                   Activation activation, View y);
bool cudnn_backward_data(Context& context, const ConvGeometry& g, ConstView dy, ConstView w, Grad dx);
bool cudnn_backward_filter(Context& context, const ConvGeometry& g, ConstView x, ConstView dy, Grad dw);

}  // namespace descent::gpu
