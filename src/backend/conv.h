// The op group conv: x [N, H, W, C], w [out, kh, kw, C / groups], y [N, Ho, Wo, out].
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "descent/epilogue.h"
#include "descent/window_options.h"

namespace descent {

class Conv {
 public:
  virtual ~Conv() = default;
  // The epilogue is one of core/fusion.h. With max_pool, aux (u8, y's shape) is the window's maximum, 0 to 3 in
  // row-major order, or 4 if relu gave 0 (no gradient); the bits are those of the primitives in sequence, except that
  // in mixed precision the convolution need not be rounded before the maximum is taken.
  virtual void forward(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias /* or empty */,
                       const Epilogue& epilogue, View y, View aux = {}) = 0;
  // Also the forward of the transposed convolution.
  virtual void backward_data(const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx) = 0;
  virtual void backward_filter(const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw) = 0;
  // All gradients of a forward with an epilogue that pools.
  virtual void backward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView dy, ConstView aux,
                               Grad dx, Grad dw, Grad dbias) = 0;
};

}  // namespace descent
