// Index ops: index_select, embedding, one_hot.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

Tensor gather(const char* op, const char* what, const Tensor& x, const Tensor& index) {
  check_defined(op, what, x);
  const Shape& from = x.shape();
  if (from.rank() < 1) throw InvalidArgument(fmt::format("{}: {} has no axes, expected 1 or more", op, what));
  check_index(op, "index", index, x, from[0]);
  std::vector<std::int64_t> dims(index.shape().begin(), index.shape().end());
  dims.insert(dims.end(), from.begin() + 1, from.end());
  Tensor y = empty_of(Shape(std::span<const std::int64_t>(dims)), x);
  const std::int64_t count = index.numel();
  const std::int64_t width = from.product(1, from.rank());
  const Shape table{from[0], width};
  backend_of(x).indexing->index_select(view_as(x, table), view_as(index, {count}), view_as(y, {count, width}));
  if (recording(x)) {
    record(op, {&x}, y, [table, rows = Shape{count, width}, index = Saved(index)](Gradients& g) {
      const Grad dx = g.input_grad(0, table);
      g.backend().indexing->scatter_add_rows(g.dy(rows), index.as({rows[0]}), dx);
    });
  }
  return y;
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& index) {
  check_floating("embedding", "weight", weight);
  check_rank("embedding", "weight", weight, 2);
  return gather("embedding", "weight", weight, index);
}

Tensor index_select(const Tensor& x, const Tensor& index) { return gather("index_select", "input", x, index); }

Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype) {
  check_option(classes >= 1, "one_hot", "classes", static_cast<double>(classes), "1 or more");
  if (dtype != DType::f32 && dtype != DType::f64) {
    throw InvalidArgument(fmt::format("one_hot: the element type is {}, expected f32 or f64", to_string(dtype)));
  }
  check_index("one_hot", "index", index, index, classes);
  std::vector<std::int64_t> dims(index.shape().begin(), index.shape().end());
  dims.push_back(classes);
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(dims)), dtype, index.device());
  backend_of(y).indexing->one_hot(view_as(index, {index.numel()}), view_as(y, {index.numel(), classes}));
  return y;
}

}  // namespace descent
