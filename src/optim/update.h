// What one fused update works on: a segment of the flat buffers.
#pragma once

#include "core/tensor_impl.h"
#include "descent/optim.h"

namespace descent::optim {

struct Optimizer::Update {
  std::int64_t begin = 0, size = 0;  // in elements of the flat buffers
  View param;
  ConstView grad;
  StepState step;
  View number, rates;  // of `step`, to be advanced
  descent::Optim& kernels;

  View slice(const Tensor& flat) const {
    if (!flat.defined()) return {};
    const std::size_t bytes = static_cast<std::size_t>(begin) * size_of(flat.dtype());
    return {flat.impl()->data() + bytes, Shape{size}, flat.dtype()};
  }
};

}  // namespace descent::optim
