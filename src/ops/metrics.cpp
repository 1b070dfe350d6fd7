// Metrics of predictions: topk, bincount, confusion_matrix, on the device of their input. None is differentiable.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

Tensor counted(const char* op, const Tensor* rows, const Tensor& columns, const Shape& shape) {
  const Tensor counts = Tensor::zeros(shape, DType::i32, columns.device());
  const Shape flat{columns.numel()};
  const std::int64_t classes = shape[-1];
  check_index(op, rows != nullptr ? "predicted" : "index", columns, columns, classes);
  const ConstView row = rows != nullptr ? ConstView(view_as(*rows, flat)) : ConstView();
  backend_of(counts).indexing->count_pairs(row, view_as(columns, flat),
                                           view_as(counts, {shape.numel() / classes, classes}));
  return counts;
}

}  // namespace

TopK topk(const Tensor& x, std::int64_t k) {
  check_floating("topk", "input", x);
  if (x.rank() < 1) throw InvalidArgument("topk: input has no axes, expected 1 or more");
  const Shape matrix = as_rows(x.shape());
  check_option(k >= 1 && k <= matrix[1], "topk", "k", static_cast<double>(k),
               fmt::format("1 to {}, the size of the last axis", matrix[1]).c_str());
  TopK result{empty_of(x.shape().with(-1, k), x), Tensor::empty(x.shape().with(-1, k), DType::i32, x.device())};
  backend_of(x).reduce->top_k(view_as(x, matrix), view_as(result.values, {matrix[0], k}),
                              view_as(result.indices, {matrix[0], k}));
  return result;
}

Tensor bincount(const Tensor& index, std::int64_t classes) {
  check_defined("bincount", "index", index);
  check_option(classes >= 1, "bincount", "classes", static_cast<double>(classes), "1 or more");
  return counted("bincount", nullptr, index, {classes});
}

Tensor confusion_matrix(const Tensor& labels, const Tensor& predicted, std::int64_t classes) {
  constexpr const char* kOp = "confusion_matrix";
  check_defined(kOp, "predicted", predicted);
  check_option(classes >= 1, kOp, "classes", static_cast<double>(classes), "1 or more");
  check_index(kOp, "labels", labels, predicted, classes);
  check_shape(kOp, "labels", labels, predicted.shape());
  return counted(kOp, &labels, predicted, {classes, classes});
}

}  // namespace descent
