// Flatten, which remembers its input shape for file layouts.
#include "core/tensor_impl.h"
#include "descent/autograd.h"
#include "nn/guard.h"
#include "nn/shapes.h"

namespace descent::nn {

Tensor Flatten::forward(const Tensor& x) {
  const Shape& shape = x.shape();
  if (shape.rank() < 1) fail("input has no batch axis");
  remember(Shape(shape.dims().subspan(1)), grad_enabled());
  if (shape.rank() == 1) return x.reshape({shape[0], 1});
  return shape.rank() == 2 ? x : flatten(x);
}

Shape Flatten::output_shape(const Shape& input) const {
  remember(input, true);
  return flatten_shape(input);
}

// Inference does not replace a known shape: its images may have another size.
void Flatten::remember(const Shape& input, bool replace) const {
  const std::lock_guard lock(mutex_);
  if (!last_input_ || (replace && !EvalGuard::active())) last_input_ = input;
}

std::optional<Shape> Flatten::last_input() const {
  const std::lock_guard lock(mutex_);
  return last_input_;
}

FeatureOrder Flatten::features_after(const FeatureOrder& before, const std::string& path) const {
  const std::optional<Shape> input = last_input();
  if (!input) return {FeatureOrder::Kind::unknown, 0, 0, 0, path};
  const Shape& shape = *input;
  if (shape.rank() == 1) return before;
  if (shape.rank() != 3 || shape[2] == 1 || shape[0] * shape[1] == 1) return {};
  return {FeatureOrder::Kind::image, shape[0], shape[1], shape[2], path};
}

}  // namespace descent::nn
