// Losses. A loss computes its gradient in the forward pass, which has all of the operands at hand.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

// dx = saved * dy; dy has the given shape, which broadcasts to that of `saved`.
void scale_saved(Gradients& g, Saved& saved, const Shape& dy_shape) {
  if (g.dy_is_one()) return g.donate(0, saved);
  if (const Grad dx = g.input_grad(0))
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
  if (o.num_correct.defined() && (o.num_correct.dtype() != DType::i32 || o.num_correct.numel() != 1 ||
                                  &backend_of(o.num_correct) != &backend_of(logits))) {
    throw InvalidArgument(fmt::format("cross_entropy: num_correct is {} {} on {}, expected [1] i32 on {}",
                                      to_string(o.num_correct.shape()), to_string(o.num_correct.dtype()),
                                      to_string(o.num_correct.device()), to_string(logits.device())));
  }
}

using Primitive = void (Loss::*)(Reduction, ConstView, ConstView, View, View);

// A loss of two tensors of the same shape. If `symmetric`, the target's gradient is -dx; else it must not need one.
Tensor pairwise(const char* op, Primitive primitive, bool symmetric, const Tensor& x, const Tensor& target,
                Reduction reduction) {
  check_floating(op, "input", x);
  if (is_mixed(x)) return pairwise(op, primitive, symmetric, in_f32(x), in_f32(target), reduction);
  check_like(op, "target", target, x);
  check_shape(op, "target", target, x.shape());
  if (!symmetric && needs_gradient(target))
    throw InvalidArgument(fmt::format("{}: target must not require a gradient", op));
  const bool whole = reduction == Reduction::none;
  Tensor loss = empty_of(whole ? x.shape() : Shape(), x);
  const bool recorded = recording(x, target);
  const Tensor dx = recorded ? empty_like(x) : Tensor();
  const View loss_view = whole ? view(loss) : view_as(loss, {1});
  (backend_of(x).loss->*primitive)(reduction, cview(x), cview(target), loss_view, view(dx));
  if (recorded) {
    record(op, {&x, &target}, loss, [dy_shape = whole ? x.shape() : Shape{1}, saved = Saved(dx)](Gradients& g) mutable {
      if (g.wants(1)) {
        const Tensor scaled = g.temporary(ConstView(saved).shape);
        g.backend().elementwise->binary(Binary::mul, saved, g.dy(dy_shape), view(scaled));
        const Grad dtarget = g.input_grad(1);
        g.backend().elementwise->axpby(-1, cview(scaled), beta_of(dtarget.write), dtarget.view);
      }
      if (g.wants(0)) scale_saved(g, saved, dy_shape);
    });
  }
  return loss;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  if (is_mixed(logits)) return cross_entropy(in_f32(logits), in_f32(target), o);
  check_cross_entropy(logits, target, o);
  const bool per_row = o.reduction == Reduction::none;
  const std::int64_t rows = logits.shape()[0];
  Tensor loss = empty_of(per_row ? Shape{rows} : Shape(), logits);
  const bool recorded = recording(logits);
  const Tensor dlogits = recorded ? empty_like(logits) : Tensor();
  const CrossEntropy settings{o.label_smoothing, o.ignore_index, o.reduction};
  backend_of(logits).loss->cross_entropy(settings, cview(logits), cview(target), cview(o.class_weights),
                                         view_as(loss, {per_row ? rows : 1}), view(dlogits), view(o.num_correct));
  if (recorded) {
    record("cross_entropy", {&logits}, loss,
           [dy_shape = per_row ? Shape{rows, 1} : Shape{1}, dlogits = Saved(dlogits)](Gradients& g) mutable {
             scale_saved(g, dlogits, dy_shape);
           });
  }
  return loss;
}

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return pairwise("mse_loss", &Loss::mse, true, x, target, reduction);
}

Tensor bce_with_logits(const Tensor& x, const Tensor& target, Reduction reduction) {
  return pairwise("bce_with_logits", &Loss::bce_with_logits, false, x, target, reduction);
}

}  // namespace descent
