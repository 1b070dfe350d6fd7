// The checks that every op makes of its inputs, once. Messages are put together only when a check fails.
#pragma once

#include "autograd/tape.h"
#include "core/tensor_impl.h"
#include "descent/ops.h"

namespace descent::ops {

void check_defined(const char* op, const char* what, const Tensor& x);
// f32, f64 or bf16. `what` names the input: "weight".
void check_floating(const char* op, const char* what, const Tensor& x);
// On the device of x and of its element type.
void check_like(const char* op, const char* what, const Tensor& y, const Tensor& x);
// On the device of x and of the element type that its parameters and statistics have.
void check_parameter(const char* op, const char* what, const Tensor& y, const Tensor& x);
void check_device(const char* op, const char* what, const Tensor& y, const Tensor& x);
// i32 on the device of x; on the CPU also 0 <= index < count.
void check_index(const char* op, const char* what, const Tensor& index, const Tensor& x, std::int64_t count);
void check_rank(const char* op, const char* what, const Tensor& x, int rank);
void check_shape(const char* op, const char* what, const Tensor& x, const Shape& expected);
// `expected`: a condition in words, "1 or more".
void check_option(bool holds, const char* op, const char* option, double value, const char* expected);

constexpr std::int64_t kMaxOption = std::int64_t{1} << 30;  // of strides, paddings and the like: no size overflows

inline Tensor empty_like(const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), backend_of(x).device); }
inline Tensor empty_of(const Shape& shape, const Tensor& x) {
  return Tensor::empty(shape, x.dtype(), backend_of(x).device);
}
// Mixed precision: beside activations in bf16 stand parameters in f32.
inline DType parameter_type(DType activations) { return activations == DType::bf16 ? DType::f32 : activations; }
inline Tensor empty_parameter(const Shape& shape, const Tensor& x) {
  return Tensor::empty(shape, parameter_type(x.dtype()), backend_of(x).device);
}
inline bool is_mixed(const Tensor& x) { return x.defined() && x.impl()->dtype == DType::bf16; }
inline Saved saved_if(bool wanted, const Tensor& x) { return wanted ? Saved(x) : Saved(); }
inline double beta_of(Write write) { return write == Write::accumulate ? 1.0 : 0.0; }
inline Activation activation_of(Fuse fuse) {
  return fuse == Fuse::relu ? Activation::relu : fuse == Fuse::gelu_tanh ? Activation::gelu_tanh : Activation::none;
}
// For the ops that have no other.
Activation relu_or_none(const char* op, Fuse fuse);

// x seen as a matrix with its last axis as columns.
inline Shape as_rows(const Shape& shape) {
  const std::int64_t columns = shape[-1];
  return {shape.product(0, shape.rank() - 1), columns};
}

// dy where y > 0, else 0, for the ops that end in a fused ReLU; `keep` holds the elements.
inline ConstView through_relu(Gradients& g, const Saved& y, Tensor& keep) {
  keep = g.temporary(g.shape());
  g.backend().elementwise->unary_backward(Unary::relu, 0, 0, y, y, g.dy(), {view(keep), Write::overwrite});
  return cview(keep);
}

}  // namespace descent::ops
