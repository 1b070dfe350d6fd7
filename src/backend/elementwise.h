// The op group elementwise.
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "core/unary_functions.h"

namespace descent {

enum class Binary : std::uint8_t { add, sub, mul, div };

class Elementwise {
 public:
  virtual ~Elementwise() = default;
  virtual void fill(View y, double value) = 0;                                // any dtype
  virtual void convert(ConstView x, View y) = 0;                              // any dtype to any dtype, by C++ rules
  virtual void unary(Unary op, double a, double b, ConstView x, View y) = 0;  // y may alias x
  virtual void unary_backward(Unary op, double a, double b, ConstView x, ConstView y, ConstView dy,
                              Grad dx) = 0;  // dx may alias dy
  // a and b are broadcast to y's shape.
  virtual void binary(Binary op, ConstView a, ConstView b, View y, Write write = Write::overwrite) = 0;
  // y = alpha x + beta y; y is not read if beta is 0.
  virtual void axpby(double alpha, ConstView x, double beta, View y) = 0;
  virtual void scale_by(View x, ConstView factor) = 0;  // x *= factor, which has one element of any floating type
};

}  // namespace descent
