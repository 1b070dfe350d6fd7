// Pooling layers.
#include <fmt/format.h>

#include "nn/guard.h"
#include "nn/shapes.h"
#include "nn/text.h"

namespace descent::nn {
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

std::string MaxPool2d::extra_repr() const { return describe_pool(options_); }

Shape MaxPool2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return pool_shape(input, options_); });
}

double MaxPool2d::flops(const Shape& input) const { return pool_flops(output_shape(input), options_); }

AvgPool2d::AvgPool2d(Pair kernel_size, Pair stride, Pair padding, bool count_include_pad) : Module("AvgPool2d") {
  options_ = with_type(type(), [&] { return check_pool(kernel_size, stride, padding, count_include_pad); });
}

std::string AvgPool2d::extra_repr() const { return describe_pool(options_); }

Shape AvgPool2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return pool_shape(input, options_); });
}

double AvgPool2d::flops(const Shape& input) const { return pool_flops(output_shape(input), options_); }

Shape GlobalAvgPool2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return global_pool_shape(input); });
}

double GlobalAvgPool2d::flops(const Shape& input) const { return static_cast<double>(input.numel()); }

}  // namespace descent::nn
