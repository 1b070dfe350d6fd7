// Softmax and the losses. A loss computes its gradient in the forward pass, where everything for it is at hand.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

LossReduction reduction_of(LossReduce reduce) {
  switch (reduce) {
    case LossReduce::none:
      return LossReduction::none;
    case LossReduce::sum:
      return LossReduction::sum;
    case LossReduce::mean:
      break;
  }
  return LossReduction::mean;
}

void check_rows(const char* op, const Tensor& x) {
  check_floating(op, "input", x);
  if (x.rank() < 1) throw InvalidArgument(fmt::format("{}: input has no axes, expected 1 or more", op));
}

// The losses compute in f32 where their input is bf16.
Tensor in_f32(const Tensor& x) { return is_mixed(x) ? x.to(DType::f32) : x; }

// dx = saved * dy, where dy has one element, or one for each row of `saved`.
void scale_saved(Gradients& g, Saved& saved, const Shape& dy_shape) {
  if (g.dy_is_one()) return g.give(0, saved);
  if (const Grad dx = g.wanted(0))
    g.backend().elementwise->binary(Binary::mul, saved, g.dy(dy_shape), dx.view, dx.write);
}

void check_labels(const Tensor& target, std::int64_t classes, std::int32_t ignore_index) {
  if (target.device().type != DeviceType::cpu) return;
  const std::int32_t* labels = target.data<std::int32_t>();
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    if ((labels[i] >= 0 && labels[i] < classes) || labels[i] == ignore_index) continue;
    throw InvalidArgument(
        fmt::format("cross_entropy: label {} in row {}, expected 0 to {}", labels[i], i, classes - 1));
  }
}

void check_cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  constexpr const char* kOp = "cross_entropy";
  check_floating(kOp, "logits", logits);
  check_rank(kOp, "logits", logits, 2);
  if (!target.defined()) throw InvalidArgument("cross_entropy: target is undefined");
  if (needs_gradient(target)) throw InvalidArgument("cross_entropy: target must not require a gradient");
  if (needs_gradient(o.class_weights))
    throw InvalidArgument("cross_entropy: class_weights must not require a gradient");
  const std::int64_t classes = logits.shape()[1];
  if (target.dtype() == DType::i32) {
    check_device(kOp, "target", target, logits);
    check_shape(kOp, "target", target, {logits.shape()[0]});
    check_labels(target, classes, o.ignore_index);
  } else {
    check_like(kOp, "target", target, logits);
    check_shape(kOp, "target", target, logits.shape());
  }
  if (o.class_weights.defined()) {
    check_like(kOp, "class_weights", o.class_weights, logits);
    check_shape(kOp, "class_weights", o.class_weights, {classes});
  }
  check_option(o.label_smoothing >= 0 && o.label_smoothing <= 1, kOp, "label_smoothing", o.label_smoothing, "0 to 1");
  if (o.hits.defined() &&
      (o.hits.dtype() != DType::i32 || o.hits.numel() != 1 || &backend_of(o.hits) != &backend_of(logits))) {
    throw InvalidArgument(fmt::format("cross_entropy: hits is {} {} on {}, expected [1] i32 on {}",
                                      to_string(o.hits.shape()), name_of(o.hits.dtype()), to_string(o.hits.device()),
                                      to_string(logits.device())));
  }
}

using Primitive = void (Loss::*)(LossReduction, ConstView, ConstView, View, View);

// A loss of two tensors of the same shape; the target's gradient is -dx where `symmetric`.
Tensor pairwise(const char* op, Primitive primitive, bool symmetric, const Tensor& x, const Tensor& target,
                LossReduce reduce) {
  check_floating(op, "input", x);
  if (is_mixed(x)) return pairwise(op, primitive, symmetric, in_f32(x), in_f32(target), reduce);
  check_like(op, "target", target, x);
  check_shape(op, "target", target, x.shape());
  if (!symmetric && needs_gradient(target))
    throw InvalidArgument(fmt::format("{}: target must not require a gradient", op));
  const bool whole = reduce == LossReduce::none;
  Tensor loss = empty_of(whole ? x.shape() : Shape(), x);
  const bool recorded = recording(x, target);
  const Tensor dx = recorded ? empty_like(x) : Tensor();
  const View loss_view = whole ? view(loss) : view_as(loss, {1});
  (backend_of(x).loss->*primitive)(reduction_of(reduce), cview(x), cview(target), loss_view, view(dx));
  if (recorded) {
    record(op, {&x, &target}, loss, [dy_shape = whole ? x.shape() : Shape{1}, saved = Saved(dx)](Gradients& g) mutable {
      if (g.wants(1)) {
        const Tensor scaled = g.temporary(ConstView(saved).shape);
        g.backend().elementwise->binary(Binary::mul, saved, g.dy(dy_shape), view(scaled));
        const Grad dtarget = g.wanted(1);
        g.backend().elementwise->axpby(-1, cview(scaled), beta_of(dtarget.write), dtarget.view);
      }
      if (g.wants(0)) scale_saved(g, saved, dy_shape);
    });
  }
  return loss;
}

}  // namespace

Tensor softmax(const Tensor& x) {
  check_rows("softmax", x);
  if (is_mixed(x)) return softmax(in_f32(x)).to(DType::bf16);
  const Shape matrix = as_rows(x.shape());
  Tensor y = empty_like(x);
  backend_of(x).loss->softmax(view_as(x, matrix), view_as(y, matrix));
  if (recording(x)) {
    record("softmax", {&x}, y, [matrix, y = Saved(y)](Gradients& g) {
      const Grad dx = g.wanted(0, matrix);
      g.backend().loss->softmax_backward(y.as(matrix), g.dy(matrix), dx);
    });
  }
  return y;
}

Tensor log_softmax(const Tensor& x) {
  check_rows("log_softmax", x);
  if (is_mixed(x)) return log_softmax(in_f32(x)).to(DType::bf16);
  const Shape matrix = as_rows(x.shape());
  Tensor y = empty_like(x);
  backend_of(x).loss->log_softmax(view_as(x, matrix), view_as(y, matrix));
  if (recording(x)) {
    record("log_softmax", {&x}, y, [matrix, y = Saved(y)](Gradients& g) {
      const Grad dx = g.wanted(0, matrix);
      g.backend().loss->log_softmax_backward(y.as(matrix), g.dy(matrix), dx);
    });
  }
  return y;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  if (is_mixed(logits)) return cross_entropy(in_f32(logits), in_f32(target), o);
  check_cross_entropy(logits, target, o);
  const bool per_row = o.reduce == LossReduce::none;
  const std::int64_t rows = logits.shape()[0];
  Tensor loss = empty_of(per_row ? Shape{rows} : Shape(), logits);
  const bool recorded = recording(logits);
  const Tensor dlogits = recorded ? empty_like(logits) : Tensor();
  const CrossEntropy settings{o.label_smoothing, o.ignore_index, reduction_of(o.reduce)};
  backend_of(logits).loss->cross_entropy(settings, cview(logits), cview(target), cview(o.class_weights),
                                         view_as(loss, {per_row ? rows : 1}), view(dlogits), view(o.hits));
  if (recorded) {
    record("cross_entropy", {&logits}, loss,
           [dy_shape = per_row ? Shape{rows, 1} : Shape{1}, dlogits = Saved(dlogits)](Gradients& g) mutable {
             scale_saved(g, dlogits, dy_shape);
           });
  }
  return loss;
}

Tensor mse_loss(const Tensor& x, const Tensor& target, LossReduce reduce) {
  return pairwise("mse_loss", &Loss::mse, true, x, target, reduce);
}

Tensor bce_with_logits(const Tensor& x, const Tensor& target, LossReduce reduce) {
  return pairwise("bce_with_logits", &Loss::bce_with_logits, false, x, target, reduce);
}

}  // namespace descent
