// f32 and bf16 convolutions through cuDNN, in builds that have it (DESCENT_HAS_CUDNN). Each function returns false,
// without touching the result, if cuDNN cannot be started or has no engine that follows our rules
// (cudnn_plan.cpp); the caller then runs its own kernels. Throws DeviceError if an engine fails when it is queued.
#pragma once

#include <cstdint>
#include <string>

#include "backend/backend.h"

namespace descent::gpu {

class Context;  // context.h

// Whether cuDNN's tiles, made for dozens of channels, are worth their overhead: not for layers with few input or output
// channels, nor for f64. The channels are those of one group.
inline bool worth_cudnn(DType dtype, std::int64_t in_channels, std::int64_t out_channels) {
  constexpr std::int64_t kThin = 8;
  return dtype != DType::f64 && in_channels > kThin && out_channels > kThin;
}

// Starts cuDNN on the device unless that was tried before. Returns why it could not be started, or an empty string.
std::string cudnn_failure(Context& context);

bool cudnn_forward(Context& context, const Conv2dFuncOptions& g, ConstView x, ConstView w,
                   ConstView bias /* or empty */, Activation activation, View y);
bool cudnn_backward_data(Context& context, const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx);
bool cudnn_backward_filter(Context& context, const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw);

}  // namespace descent::gpu
