// Softmax and its logarithm, over the last axis.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

void check_rows(const char* op, const Tensor& x) {
  check_floating(op, "input", x);
  if (x.rank() < 1) throw InvalidArgument(fmt::format("{}: input has no axes, expected 1 or more", op));
}

}  // namespace

Tensor softmax(const Tensor& x) {
  check_rows("softmax", x);
  if (is_mixed(x)) return softmax(in_f32(x)).to(DType::bf16);
  const Shape matrix = as_rows(x.shape());
  Tensor y = empty_like(x);
  backend_of(x).softmax->softmax(view_as(x, matrix), view_as(y, matrix));
  if (recording(x)) {
    record("softmax", {&x}, y, [matrix, y = Saved(y)](Gradients& g) {
      const Grad dx = g.input_grad(0, matrix);
      g.backend().softmax->softmax_backward(y.as(matrix), g.dy(matrix), dx);
    });
  }
  return y;
}

Tensor log_softmax(const Tensor& x) {
  check_rows("log_softmax", x);
  if (is_mixed(x)) return log_softmax(in_f32(x)).to(DType::bf16);
  const Shape matrix = as_rows(x.shape());
  Tensor y = empty_like(x);
  backend_of(x).softmax->log_softmax(view_as(x, matrix), view_as(y, matrix));
  if (recording(x)) {
    record("log_softmax", {&x}, y, [matrix, y = Saved(y)](Gradients& g) {
      const Grad dx = g.input_grad(0, matrix);
      g.backend().softmax->log_softmax_backward(y.as(matrix), g.dy(matrix), dx);
    });
  }
  return y;
}

}  // namespace descent
