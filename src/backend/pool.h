// The op group pool, on [N, H, W, C].
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "descent/window_options.h"

namespace descent {

class Pool {
 public:
  virtual ~Pool() = default;
  // Encoding of the argmax that max_forward saves for max_backward; the first maximum of a window, NaN wins; `dtype`
  // is y's. If it has y's shape: the row-major index in the window, as u8 (windows of up to 256 elements) or i32. If
  // it has one dimension: indices in 2x2 windows, 2 bits each, the first in the lowest bits.
  virtual AuxSpec max_aux(const Pool2dOptions& g, const Shape& y, DType dtype) const = 0;
  virtual void max_forward(const Pool2dOptions& g, ConstView x, View y, View aux) = 0;
  virtual void max_backward(const Pool2dOptions& g, ConstView dy, ConstView aux, Grad dx) = 0;
  virtual void average_forward(const Pool2dOptions& g, ConstView x, View y) = 0;
  virtual void average_backward(const Pool2dOptions& g, ConstView dy, Grad dx) = 0;
  virtual void global_average_forward(ConstView x, View y) = 0;  // -> [N, C]
  virtual void global_average_backward(ConstView dy, Grad dx) = 0;
};

}  // namespace descent
