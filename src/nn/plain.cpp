// The layers without parameters.
#include <fmt/format.h>

#include "core/tensor_impl.h"
#include "descent/autograd.h"
#include "descent/init.h"
#include "nn/guard.h"
#include "nn/shapes.h"
#include "nn/text.h"

namespace descent::nn {

FeatureOrder Elementwise::features_after(const FeatureOrder& before, const std::string&) const { return before; }

std::string LeakyReLU::describe() const { return fmt::format("negative_slope={}", slope_); }

std::string GELU::describe() const { return approximate_ == Gelu::tanh ? "approximate=tanh" : ""; }

Dropout::Dropout(double p) : Elementwise("Dropout", 2), p_(p), generator_(0) {
  with_type(type(), [&] { check_dropout(p); });
  std::uint32_t stream = init::next_dropout_stream();
  seed_own(init::current_seed(), stream);
}

void Dropout::seed_own(std::uint64_t seed, std::uint32_t& next_stream) {
  generator_ = Generator(seed, next_stream++, generator_.counter().device());
  register_checkpoint_state("calls", generator_.counter());
}

std::string Dropout::describe() const { return fmt::format("p={}", p_); }

Tensor Dropout::forward(const Tensor& x) { return is_training() && p_ > 0 ? dropout(x, p_, generator_) : x; }

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

// Inference replaces nothing that is known: its images may be of another size.
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

namespace {

std::string describe_pool(const Pool2dOptions& o) {
  const Pair kernel{o.kernel_h, o.kernel_w};
  std::string text = fmt::format("kernel_size={}", text_of(kernel));
  append_unless(text, "stride", {o.stride_h, o.stride_w}, kernel);
  append_unless(text, "padding", {o.padding_h, o.padding_w}, 0);
  if (!o.count_include_pad) text += ", count_include_pad=False";
  return text;
}

double pool_flops(const Shape& output, const Pool2dOptions& o) {
  return static_cast<double>(output.numel()) * static_cast<double>(o.kernel_h * o.kernel_w);
}

}  // namespace

MaxPool2d::MaxPool2d(Pair kernel_size, Pair stride, Pair padding) : Module("MaxPool2d") {
  options_ = with_type(type(), [&] { return check_pool(kernel_size, stride, padding, true); });
}

std::string MaxPool2d::describe() const { return describe_pool(options_); }

Shape MaxPool2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return pool_shape(input, options_); });
}

double MaxPool2d::flops(const Shape& input) const { return pool_flops(output_shape(input), options_); }

AvgPool2d::AvgPool2d(Pair kernel_size, Pair stride, Pair padding, bool count_include_pad) : Module("AvgPool2d") {
  options_ = with_type(type(), [&] { return check_pool(kernel_size, stride, padding, count_include_pad); });
}

std::string AvgPool2d::describe() const { return describe_pool(options_); }

Shape AvgPool2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return pool_shape(input, options_); });
}

double AvgPool2d::flops(const Shape& input) const { return pool_flops(output_shape(input), options_); }

Shape GlobalAvgPool::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return global_pool_shape(input); });
}

double GlobalAvgPool::flops(const Shape& input) const { return static_cast<double>(input.numel()); }

}  // namespace descent::nn
