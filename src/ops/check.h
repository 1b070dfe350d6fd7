// Checks of op inputs, shared by all ops. A message is formatted only if a check fails.
#pragma once

#include "autograd/tape.h"
#include "core/tensor_impl.h"
#include "descent/ops.h"

namespace descent::ops {

void check_defined(const char* op, const char* what, const Tensor& x);
// f32, f64 or bf16. `what` names the input: "weight".
void check_floating(const char* op, const char* what, const Tensor& x);
// On the device of x, with its element type.
void check_like(const char* op, const char* what, const Tensor& y, const Tensor& x);
// On the device of x, with the element type of its parameters and statistics (parameter_type).
void check_parameter(const char* op, const char* what, const Tensor& y, const Tensor& x);
void check_device(const char* op, const char* what, const Tensor& y, const Tensor& x);
// i32 on the device of x; on the CPU also 0 <= index < count.
void check_index(const char* op, const char* what, const Tensor& index, const Tensor& x, std::int64_t count);
void check_rank(const char* op, const char* what, const Tensor& x, int rank);
void check_shape(const char* op, const char* what, const Tensor& x, const Shape& expected);
// `expected` is the condition in words: "1 or more".
void check_option(bool holds, const char* op, const char* option, double value, const char* expected);

constexpr std::int64_t kMaxOption = std::int64_t{1} << 30;  // of strides, paddings etc., so that no size overflows

inline Tensor empty_like(const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), backend_of(x).device); }
inline Tensor empty_of(const Shape& shape, const Tensor& x) {
  return Tensor::empty(shape, x.dtype(), backend_of(x).device);
}
// Mixed precision: bf16 activations go with f32 parameters.
inline DType parameter_type(DType activations) { return activations == DType::bf16 ? DType::f32 : activations; }
inline Tensor empty_parameter(const Shape& shape, const Tensor& x) {
  return Tensor::empty(shape, parameter_type(x.dtype()), backend_of(x).device);
}
inline bool is_mixed(const Tensor& x) { return x.defined() && x.impl()->dtype == DType::bf16; }
// Softmax and the losses compute in f32 if their input is bf16.
inline Tensor in_f32(const Tensor& x) { return is_mixed(x) ? x.to(DType::f32) : x; }
inline Saved saved_if(bool wanted, const Tensor& x) { return wanted ? Saved(x) : Saved(); }
inline double beta_of(Write write) { return write == Write::accumulate ? 1.0 : 0.0; }

// The epilogue of an op as ops of their own, for those that no pass of the op's takes (core/fusion.h).
Tensor in_parts(Tensor y, const Epilogue& epilogue);

// x seen as a matrix with its last axis as columns.
inline Shape as_rows(const Shape& shape) {
  const std::int64_t columns = shape[-1];
  return {shape.product(0, shape.rank() - 1), columns};
}

// The backward of a fused ReLU at the end of an op: dy if y > 0, else 0. `keep` owns the result.
inline ConstView through_relu(Gradients& g, const Saved& y, Tensor& keep) {
  keep = g.temporary(g.shape());
  g.backend().elementwise->unary_backward(Unary::relu, 0, 0, y, y, g.dy(), {view(keep), Write::overwrite});
  return cview(keep);
}

}  // namespace descent::ops
