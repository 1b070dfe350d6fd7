// The op group softmax: over the last axis, rows [rows, n].
#pragma once

#include "backend/view.h"

namespace descent {

class Softmax {
 public:
  virtual ~Softmax() = default;
  virtual void softmax(ConstView x, View y) = 0;
  virtual void softmax_backward(ConstView y, ConstView dy, Grad dx) = 0;
  virtual void log_softmax(ConstView x, View y) = 0;
  virtual void log_softmax_backward(ConstView y, ConstView dy, Grad dx) = 0;
};

}  // namespace descent
