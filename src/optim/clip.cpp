// Gradient clipping on the device, without a host sync. Squares are summed in f64, one segment at a time.
#include <fmt/format.h>

#include "core/tensor_impl.h"
#include "descent/optim.h"

namespace descent::optim {
namespace {

View part(const Tensor& flat, std::int64_t begin, std::int64_t size) {
  const std::size_t bytes = static_cast<std::size_t>(begin) * size_of(flat.dtype());
  return {flat.impl()->data() + bytes, Shape{size}, flat.dtype()};
}

View part(const Tensor& flat, const nn::FlatParameters::Segment& segment) {
  return part(flat, segment.begin, segment.end - segment.begin);
}

}  // namespace

Tensor clip_grad_norm(nn::FlatParameters& parameters, double max_norm) {
  if (!(max_norm >= 0))
    throw InvalidArgument(fmt::format("clip_grad_norm: max_norm is {}, expected 0 or more", max_norm));
  parameters.refresh();
  const auto segments = parameters.segments();
  const Tensor& grad = parameters.grad();
  Backend& b = backend_of(grad);
  const auto count = static_cast<std::int64_t>(segments.size());
  const Tensor squares = Tensor::empty({count}, DType::f64, grad.device());
  for (std::int64_t i = 0; i < count; ++i) {
    b.reduce->sum_of_squares(part(grad, segments[static_cast<std::size_t>(i)]),
                             view(share(squares, static_cast<std::size_t>(i) * 8, {1})));
  }
  Tensor total = Tensor::empty({1}, DType::f64, grad.device());
  b.reduce->reduce(ReduceOp::sum, cview(squares), 1, count, 1, {view(total), Write::overwrite});
  const Tensor factor = Tensor::empty({1}, DType::f64, grad.device());
  b.optim->clip_factor(cview(total), max_norm, view(factor));
  // Slice by slice: a factor of NaN would stay forever in the gaps between slices, which no backward pass writes.
  for (const auto& segment : segments) {
    for (int i = segment.first; i < segment.last; ++i) {
      const auto& slice = parameters.slices()[static_cast<std::size_t>(i)];
      b.elementwise->scale_by(part(grad, slice.offset, slice.size), cview(factor));
    }
  }
  b.elementwise->unary(Unary::sqrt, 0, 0, cview(total), view(total));
  return total;
}

void clip_grad_value(nn::FlatParameters& parameters, double limit) {
  if (!(limit >= 0)) throw InvalidArgument(fmt::format("clip_grad_value: limit is {}, expected 0 or more", limit));
  parameters.refresh();
  const Tensor& grad = parameters.grad();
  for (const auto& segment : parameters.segments()) {
    const View view = part(grad, segment);
    backend_of(grad).elementwise->unary(Unary::clamp, -limit, limit, view, view);
  }
}

}  // namespace descent::optim
