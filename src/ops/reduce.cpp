// Sums, means and maxima, over all elements or along one axis.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

struct Extent {
  std::int64_t outer = 1, n = 1, inner = 1;
  Shape result;

  Shape whole() const { return {outer, n, inner}; }
  Shape reduced() const { return {outer, 1, inner}; }
};

Extent all_of(const Shape& shape) { return {1, shape.numel(), 1, Shape()}; }

Extent along(const char* op, const Shape& shape, int axis, bool keepdim) {
  axis = shape.axis(axis, op);
  Extent extent{shape.product(0, axis), shape[axis], shape.product(axis + 1, shape.rank()), shape.with(axis, 1)};
  if (!keepdim) {
    std::array<std::int64_t, Shape::kMaxRank> dims{};
    std::size_t rank = 0;
    for (int i = 0; i < shape.rank(); ++i) {
      if (i != axis) dims[rank++] = shape[i];
    }
    extent.result = Shape(std::span<const std::int64_t>(dims.data(), rank));
  }
  return extent;
}

Tensor reduced(ReduceOp kind, const Tensor& x, const Extent& e) {
  Tensor y = empty_of(e.result, x);
  backend_of(x).reduce->reduce(kind, cview(x), e.outer, e.n, e.inner,
                               {view_as(y, {e.outer, e.inner}), Write::overwrite});
  return y;
}

// The gradient of every element of a group is its dy (sum) or dy / n (mean).
Tensor sum_or_mean(const char* op, ReduceOp kind, const Tensor& x, const Extent& e) {
  Tensor y = reduced(kind, x, e);
  if (recording(x)) {
    record(op, {&x}, y, [kind, whole = e.whole(), narrow = e.reduced()](Gradients& g) {
      const Grad dx = g.input_grad(0, whole);
      const double count = kind == ReduceOp::mean ? static_cast<double>(whole[1]) : 1.0;
      const Tensor divisor = Tensor::full({1}, count, dx.view.dtype, g.backend().device);
      g.backend().elementwise->binary(Binary::div, g.dy(narrow), cview(divisor), dx.view, dx.write);
    });
  }
  return y;
}

Tensor maximum(const Tensor& x, const Extent& e) {
  if (e.n == 0)
    throw InvalidArgument(fmt::format("max: shape {} has no elements to choose from", to_string(x.shape())));
  Tensor y = reduced(ReduceOp::max, x, e);
  if (recording(x)) {
    record("max", {&x}, y,
           [whole = e.whole(), flat = Shape{e.outer, e.inner}, x = Saved(x), y = Saved(y)](Gradients& g) {
             const Grad dx = g.input_grad(0, whole);
             g.backend().reduce->max_backward(x.as(whole), y.as(flat), g.dy(flat), whole[0], whole[1], whole[2], dx);
           });
  }
  return y;
}

}  // namespace

Tensor sum(const Tensor& x) {
  check_floating("sum", "input", x);
  return sum_or_mean("sum", ReduceOp::sum, x, all_of(x.shape()));
}

Tensor mean(const Tensor& x) {
  check_floating("mean", "input", x);
  return sum_or_mean("mean", ReduceOp::mean, x, all_of(x.shape()));
}

Tensor max(const Tensor& x) {
  check_floating("max", "input", x);
  return maximum(x, all_of(x.shape()));
}

Tensor sum(const Tensor& x, int axis, bool keepdim) {
  check_floating("sum", "input", x);
  return sum_or_mean("sum", ReduceOp::sum, x, along("sum", x.shape(), axis, keepdim));
}

Tensor mean(const Tensor& x, int axis, bool keepdim) {
  check_floating("mean", "input", x);
  return sum_or_mean("mean", ReduceOp::mean, x, along("mean", x.shape(), axis, keepdim));
}

Tensor max(const Tensor& x, int axis, bool keepdim) {
  check_floating("max", "input", x);
  return maximum(x, along("max", x.shape(), axis, keepdim));
}

Tensor argmax(const Tensor& x) {
  check_floating("argmax", "input", x);
  const Extent e = along("argmax", x.shape(), -1, false);
  if (e.n == 0)
    throw InvalidArgument(fmt::format("argmax: shape {} has no elements to choose from", to_string(x.shape())));
  Tensor y = Tensor::empty(e.result, DType::i32, x.device());
  backend_of(x).reduce->argmax_rows({cview(x).data, {e.outer, e.n}, x.dtype()}, view_as(y, {e.outer}));
  return y;
}

}  // namespace descent
