// The op group gemm: matrix products.
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "descent/activation.h"

namespace descent {

// c = activation(alpha op(a) op(b) + beta c + bias) for each of `batch` matrices, which are stored consecutively. In
// mixed precision a, b and c are each bf16 or f32, and at least one of a and b is bf16; the bias is f32.
struct GemmDesc {
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  double alpha = 1, beta = 0;  // c is not read if beta is 0; beta must be 0 for gelu_tanh
  Activation activation = Activation::none;
};

class Gemm {
 public:
  virtual ~Gemm() = default;
  // What gemm saves for gemm_dact_bgrad, for a result [rows, n] of this type: for gelu_tanh the activation's argument,
  // for relu a mask of the device's own, or nothing.
  virtual AuxSpec aux(Activation activation, DType dtype, std::int64_t rows, std::int64_t n) const = 0;
  // bias [n] or empty; aux as above, or empty if no gradient is needed.
  virtual void gemm(const GemmDesc& gemm, ConstView a, ConstView b, ConstView bias, View c, View aux = {}) = 0;
  // Backward through the activation that computed `y` [m, n], with `aux` as saved by gemm (y may be empty for
  // gelu_tanh): c = activation'(...) * (alpha op(a) op(b)). sums [n], if required, = c summed over m: the gradient of
  // the bias before that activation. One batch, beta 0.
  virtual void gemm_dact_bgrad(const GemmDesc& gemm, ConstView a, ConstView b, ConstView y, ConstView aux, View c,
                               Grad sums) = 0;
  // gemm without bias and activation, plus sums [m] = op(a) summed over k: with a = dy transposed, these are the
  // gradients of a weight and its bias. One batch.
  virtual void gemm_bgrad(const GemmDesc& gemm, ConstView a, ConstView b, View c, Grad sums) = 0;
};

}  // namespace descent
