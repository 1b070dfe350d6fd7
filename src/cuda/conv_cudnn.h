// f32 and bf16 convolutions through cuDNN, in builds that have it (DESCENT_HAS_CUDNN). Each function returns false,
// having queued nothing, where cuDNN cannot be started, or has no engine that keeps our rules (conv_cudnn_plan.cpp);
// the caller's own kernels then do it.
#pragma once

#include "backend.h"

namespace descent::gpu {

class Context;  // context.h

bool cudnn_forward(Context& context, const ConvGeometry& g, ConstView x, ConstView w, ConstView bias /* or empty */,
                   Activation activation, View y);
bool cudnn_backward_data(Context& context, const ConvGeometry& g, ConstView dy, ConstView w, Grad dx);
bool cudnn_backward_filter(Context& context, const ConvGeometry& g, ConstView x, ConstView dy, Grad dw);

}  // namespace descent::gpu
