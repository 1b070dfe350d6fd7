// Conv2d and ConvTranspose2d.
#include <fmt/format.h>

#include <cmath>

#include "descent/init.h"
#include "nn/guard.h"
#include "nn/shapes.h"
#include "nn/text.h"

namespace descent::nn {
namespace {

template <class Args>
Conv2dFuncOptions options_of(const Args& args) {
  return {args.stride.h, args.stride.w, args.padding.h, args.padding.w, args.dilation.h, args.dilation.w, args.groups};
}

template <class Args>
std::string describe_conv(std::int64_t in, std::int64_t out, Pair kernel, const Args& args, Pair output_padding) {
  std::string text = fmt::format("{}, {}, kernel_size={}", in, out, text_of(kernel));
  append_unless(text, "stride", args.stride, 1);
  append_unless(text, "padding", args.padding, 0);
  append_unless(text, "output_padding", output_padding, 0);
  append_unless(text, "dilation", args.dilation, 1);
  if (args.groups != 1) text += fmt::format(", groups={}", args.groups);
  if (!args.bias) text += ", bias=False";
  return text;
}

void draw(Tensor weight, Tensor bias) {
  init::kaiming_uniform(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const double bound = 1 / std::sqrt(static_cast<double>(init::fans(weight.shape()).in));
  init::uniform(bias, -bound, bound);
}

}  // namespace

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel_size, const Conv2dOptions& args)
    : Module("Conv2d"),
      in_channels_(in_channels),
      out_channels_(out_channels),
      kernel_(kernel_size),
      args_(args),
      options_(options_of(args)) {
  with_type(type(), [&] { check_conv(in_channels, out_channels, kernel_size, args); });
  const Shape shape{out_channels, kernel_.h, kernel_.w, in_channels / args.groups};
  weight_ = register_parameter("weight", Tensor::empty(shape), {FileLayout::Kind::conv_filter});
  if (args.bias) bias_ = register_parameter("bias", Tensor::empty({out_channels}));
  reset_own_parameters();
}

void Conv2d::reset_own_parameters() { draw(weight_, bias_); }

std::string Conv2d::extra_repr() const { return describe_conv(in_channels_, out_channels_, kernel_, args_, 0); }

Shape Conv2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return conv_shape(input, in_channels_, out_channels_, kernel_, args_); });
}

double Conv2d::flops(const Shape& input) const {
  const std::int64_t taps = kernel_.h * kernel_.w * (in_channels_ / args_.groups);
  return static_cast<double>(output_shape(input).numel()) * static_cast<double>(2 * taps + (args_.bias ? 1 : 0));
}

ConvTranspose2d::ConvTranspose2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel_size,
                                 const ConvTranspose2dArgs& args)
    : Module("ConvTranspose2d"),
      in_channels_(in_channels),
      out_channels_(out_channels),
      kernel_(kernel_size),
      args_(args),
      options_(options_of(args)) {
  with_type(type(), [&] { check_conv_transpose(in_channels, out_channels, kernel_size, args); });
  const Shape shape{in_channels, kernel_.h, kernel_.w, out_channels / args.groups};
  weight_ = register_parameter("weight", Tensor::empty(shape), {FileLayout::Kind::conv_transpose_filter});
  if (args.bias) bias_ = register_parameter("bias", Tensor::empty({out_channels}));
  reset_own_parameters();
}

void ConvTranspose2d::reset_own_parameters() { draw(weight_, bias_); }

std::string ConvTranspose2d::extra_repr() const {
  return describe_conv(in_channels_, out_channels_, kernel_, args_, args_.output_padding);
}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  return conv_transpose2d(x, weight_, bias_, options_, args_.output_padding.h, args_.output_padding.w);
}

Shape ConvTranspose2d::output_shape(const Shape& input) const {
  return with_type(type(), [&] { return conv_transpose_shape(input, in_channels_, out_channels_, kernel_, args_); });
}

double ConvTranspose2d::flops(const Shape& input) const {
  const Shape output = output_shape(input);
  const std::int64_t taps = kernel_.h * kernel_.w * (out_channels_ / args_.groups);
  return static_cast<double>(input.numel()) * static_cast<double>(2 * taps) +
         (args_.bias ? static_cast<double>(output.numel()) : 0);
}

}  // namespace descent::nn
