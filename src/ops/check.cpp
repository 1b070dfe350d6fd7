// Checks of op inputs, shared by all ops.
#include "ops/check.h"

#include <fmt/format.h>

namespace descent::ops {

void check_defined(const char* op, const char* what, const Tensor& x) {
  if (!x.defined()) throw InvalidArgument(fmt::format("{}: {} is undefined", op, what));
}

void check_floating(const char* op, const char* what, const Tensor& x) {
  check_defined(op, what, x);
  const DType dtype = x.impl()->dtype;
  if (is_floating(dtype)) return;
  throw InvalidArgument(fmt::format("{}: {} is {}, expected f32, f64 or bf16", op, what, to_string(dtype)));
}

namespace {

void check_type(const char* op, const char* what, const Tensor& y, const Tensor& x, DType expected) {
  check_defined(op, what, y);
  if (y.impl()->dtype != expected) {
    throw InvalidArgument(
        fmt::format("{}: {} is {}, expected {}", op, what, to_string(y.dtype()), to_string(expected)));
  }
  check_device(op, what, y, x);
}

}  // namespace

void check_like(const char* op, const char* what, const Tensor& y, const Tensor& x) {
  check_type(op, what, y, x, x.impl()->dtype);
}

void check_parameter(const char* op, const char* what, const Tensor& y, const Tensor& x) {
  check_type(op, what, y, x, parameter_type(x.impl()->dtype));
}

void check_device(const char* op, const char* what, const Tensor& y, const Tensor& x) {
  if (&backend_of(y) == &backend_of(x)) return;
  throw InvalidArgument(
      fmt::format("{}: {} is on {}, expected {}", op, what, to_string(y.device()), to_string(x.device())));
}

void check_index(const char* op, const char* what, const Tensor& index, const Tensor& x, std::int64_t count) {
  check_defined(op, what, index);
  if (index.dtype() != DType::i32) {
    throw InvalidArgument(fmt::format("{}: {} is {}, expected i32", op, what, to_string(index.dtype())));
  }
  check_device(op, what, index, x);
  if (index.device().type != DeviceType::cpu) return;
  const std::int32_t* values = index.data<std::int32_t>();
  for (std::int64_t i = 0; i < index.numel(); ++i) {
    if (values[i] >= 0 && values[i] < count) continue;
    throw InvalidArgument(fmt::format("{}: {} {} at {}, expected 0 to {}", op, what, values[i], i, count - 1));
  }
}

void check_rank(const char* op, const char* what, const Tensor& x, int rank) {
  if (x.rank() == rank) return;
  throw InvalidArgument(
      fmt::format("{}: {} has shape {}, expected {} dimensions", op, what, to_string(x.shape()), rank));
}

void check_shape(const char* op, const char* what, const Tensor& x, const Shape& expected) {
  if (x.shape() == expected) return;
  throw InvalidArgument(
      fmt::format("{}: {} has shape {}, expected {}", op, what, to_string(x.shape()), to_string(expected)));
}

Tensor in_parts(Tensor y, const Epilogue& epilogue) {
  if (epilogue.activation == Activation::relu) y = relu(y);
  if (epilogue.activation == Activation::gelu_tanh) y = gelu(y, Gelu::tanh);
  return epilogue.max_pool ? max_pool2d(y) : y;
}

void check_option(bool holds, const char* op, const char* option, double value, const char* expected) {
  if (holds) return;
  throw InvalidArgument(fmt::format("{}: {} is {}, expected {}", op, option, value, expected));
}

}  // namespace descent::ops
