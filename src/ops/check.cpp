// The checks that ops share.
#include "ops/check.h"

#include <fmt/format.h>

namespace descent::ops {

void check_defined(const char* op, const char* what, const Tensor& x) {
  if (!x.defined()) throw InvalidArgument(fmt::format("{}: {} is undefined", op, what));
}

void check_floating(const char* op, const char* what, const Tensor& x) {
  check_defined(op, what, x);
  const DType dtype = x.impl()->dtype;
  if (dtype == DType::f32 || dtype == DType::f64) return;
  throw InvalidArgument(fmt::format("{}: {} is {}, expected f32 or f64", op, what, name_of(dtype)));
}

void check_like(const char* op, const char* what, const Tensor& y, const Tensor& x) {
  check_defined(op, what, y);
  if (y.impl()->dtype != x.impl()->dtype) {
    throw InvalidArgument(fmt::format("{}: {} is {}, expected {}", op, what, name_of(y.dtype()), name_of(x.dtype())));
  }
  check_device(op, what, y, x);
}

void check_device(const char* op, const char* what, const Tensor& y, const Tensor& x) {
  if (&backend_of(y) == &backend_of(x)) return;
  throw InvalidArgument(
      fmt::format("{}: {} is on {}, expected {}", op, what, to_string(y.device()), to_string(x.device())));
}

void check_index(const char* op, const char* what, const Tensor& index, const Tensor& x, std::int64_t count) {
  check_defined(op, what, index);
  if (index.dtype() != DType::i32) {
    throw InvalidArgument(fmt::format("{}: {} is {}, expected i32", op, what, name_of(index.dtype())));
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

void check_option(bool holds, const char* op, const char* option, double value, const char* expected) {
  if (holds) return;
  throw InvalidArgument(fmt::format("{}: {} is {}, expected {}", op, option, value, expected));
}

}  // namespace descent::ops
