// Convolutions on [N, H, W, C]. The transposed one is the gradient of the other with respect to its input.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

ConvGeometry geometry_of(const char* op, const Conv2dOptions& o) {
  const auto check = [op](const char* option, std::int64_t h, std::int64_t w, std::int64_t least,
                          const char* expected) {
    const std::int64_t wrong = h < least || h > kMaxOption ? h : w;
    check_option(wrong >= least && wrong <= kMaxOption, op, option, static_cast<double>(wrong), expected);
  };
  check("stride", o.stride_h, o.stride_w, 1, "1 to 2^30");
  check("padding", o.padding_h, o.padding_w, 0, "0 to 2^30");
  check("dilation", o.dilation_h, o.dilation_w, 1, "1 to 2^30");
  check("groups", o.groups, o.groups, 1, "1 to 2^30");
  return {o.stride_h, o.stride_w, o.padding_h, o.padding_w, o.dilation_h, o.dilation_w, o.groups};
}

// How far a kernel reaches, and the size of the output along one axis.
std::int64_t reach(std::int64_t kernel, std::int64_t dilation) { return dilation * (kernel - 1) + 1; }

void check_operands(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t out) {
  check_floating(op, "input", x);
  check_parameter(op, "weight", weight, x);
  check_rank(op, "input", x, 4);
  check_rank(op, "weight", weight, 4);
  const std::int64_t kh = weight.shape()[1];
  const std::int64_t kw = weight.shape()[2];
  if (kh < 1 || kw < 1 || kh > kMaxOption || kw > kMaxOption) {
    throw InvalidArgument(
        fmt::format("{}: weight has shape {}, expected a kernel of 1x1 or more", op, to_string(weight.shape())));
  }
  if (!bias.defined()) return;
  check_parameter(op, "bias", bias, x);
  check_shape(op, "bias", bias, {out});
}

Shape conv_shape(const char* op, const ConvGeometry& g, const Tensor& x, const Tensor& weight) {
  const Shape& in = x.shape();
  const Shape& w = weight.shape();
  if (in[3] != w[3] * g.groups) {
    throw InvalidArgument(fmt::format("{}: input has {} channels, weight expects {}", op, in[3], w[3] * g.groups));
  }
  if (w[0] % g.groups != 0) {
    throw InvalidArgument(fmt::format("{}: {} output channels don't divide into {} groups", op, w[0], g.groups));
  }
  const std::int64_t room_h = in[1] + 2 * g.pad_h - reach(w[1], g.dilation_h);
  const std::int64_t room_w = in[2] + 2 * g.pad_w - reach(w[2], g.dilation_w);
  if (room_h < 0 || room_w < 0) {
    throw InvalidArgument(fmt::format("{}: the kernel reaches over {}x{}, the padded input is {}x{}", op,
                                      reach(w[1], g.dilation_h), reach(w[2], g.dilation_w), in[1] + 2 * g.pad_h,
                                      in[2] + 2 * g.pad_w));
  }
  return {in[0], room_h / g.stride_h + 1, room_w / g.stride_w + 1, w[0]};
}

void bias_gradient(Gradients& g, ConstView dy, std::size_t input) {
  const std::int64_t channels = dy.shape[-1];
  const Grad db = g.wanted(input, {1, channels});
  if (db) g.backend().reduce->reduce(Reduction::sum, dy, 1, dy.shape.product(0, dy.shape.rank() - 1), channels, db);
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options, Fuse fuse) {
  const ConvGeometry geometry = geometry_of("conv2d", options);
  check_operands("conv2d", x, weight, bias, weight.defined() && weight.rank() == 4 ? weight.shape()[0] : 0);
  Tensor y = empty_of(conv_shape("conv2d", geometry, x, weight), x);
  backend_of(x).conv->forward(geometry, cview(x), cview(weight), cview(bias), relu_or_none("conv2d", fuse), view(y));
  if (recording(x, weight, bias)) {
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    record("conv2d", {&x, &weight, &bias}, y,
           [geometry, fuse, x = saved_x, weight = saved_weight, y = saved_if(fuse == Fuse::relu, y)](Gradients& g) {
             Tensor masked;
             const ConstView dy = fuse == Fuse::relu ? through_relu(g, y, masked) : g.dy();
             bias_gradient(g, dy, 2);
             if (const Grad dw = g.wanted(1)) g.backend().conv->backward_filter(geometry, x, dy, dw);
             if (const Grad dx = g.wanted(0)) g.backend().conv->backward_data(geometry, dy, weight, dx);
           });
  }
  return y;
}

Tensor conv2d_relu_max_pool2(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  constexpr const char* kOp = "conv2d_relu_max_pool2";
  const ConvGeometry geometry = geometry_of(kOp, options);
  check_operands(kOp, x, weight, bias, weight.defined() && weight.rank() == 4 ? weight.shape()[0] : 0);
  const Shape convolved = conv_shape(kOp, geometry, x, weight);
  if (convolved[1] < 2 || convolved[2] < 2) {
    throw InvalidArgument(
        fmt::format("{}: the convolution gives {}x{}, expected 2x2 or more", kOp, convolved[1], convolved[2]));
  }
  Tensor y = empty_of({convolved[0], convolved[1] / 2, convolved[2] / 2, convolved[3]}, x);
  const Tensor code = Tensor::empty(y.shape(), DType::u8, y.device());
  backend_of(x).conv->forward_relu_pool(geometry, cview(x), cview(weight), cview(bias), view(y), view(code));
  if (recording(x, weight, bias)) {
    record(kOp, {&x, &weight, &bias}, y,
           [geometry, x = Saved(x), weight = Saved(weight), code = Saved(code)](Gradients& g) {
             const Grad dx = g.wanted(0);
             const Grad dw = g.wanted(1);
             const Grad dbias = g.wanted(2);
             g.backend().conv->backward_relu_pool(geometry, x, weight, g.dy(), code, dx, dw, dbias);
           });
  }
  return y;
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                        std::int64_t output_padding_h, std::int64_t output_padding_w) {
  constexpr const char* kOp = "conv_transpose2d";
  const ConvGeometry geometry = geometry_of(kOp, options);
  const std::int64_t out = weight.defined() && weight.rank() == 4 ? weight.shape()[3] * geometry.groups : 0;
  check_operands(kOp, x, weight, bias, out);
  const Shape& in = x.shape();
  const Shape& w = weight.shape();
  if (in[3] != w[0])
    throw InvalidArgument(fmt::format("{}: input has {} channels, weight expects {}", kOp, in[3], w[0]));
  if (in[3] % geometry.groups != 0) {
    throw InvalidArgument(
        fmt::format("{}: {} input channels don't divide into {} groups", kOp, in[3], geometry.groups));
  }
  const auto size = [&](std::int64_t from, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                        std::int64_t kernel, std::int64_t extra) {
    check_option(extra >= 0 && extra < std::max(stride, dilation), kOp, "output_padding", static_cast<double>(extra),
                 "0 or more, and less than the stride or the dilation");
    const std::int64_t to = (from - 1) * stride - 2 * pad + reach(kernel, dilation) + extra;
    check_option(from >= 1 && to >= 1, kOp, "the output's size", static_cast<double>(to), "1 or more");
    return to;
  };
  const std::int64_t height =
      size(in[1], geometry.stride_h, geometry.pad_h, geometry.dilation_h, w[1], output_padding_h);
  const std::int64_t width =
      size(in[2], geometry.stride_w, geometry.pad_w, geometry.dilation_w, w[2], output_padding_w);
  Tensor y = empty_of({in[0], height, width, out}, x);
  backend_of(x).conv->backward_data(geometry, cview(x), cview(weight), {view(y), Write::overwrite});
  if (bias.defined()) {
    const Tensor addend = bias.detach().to(x.dtype());
    const Tensor one = Tensor::ones({1}, x.dtype(), x.device());
    backend_of(x).elementwise->binary(Binary::mul, cview(addend), cview(one), view(y), Write::accumulate);
  }
  if (recording(x, weight, bias)) {
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    record(kOp, {&x, &weight, &bias}, y, [geometry, x = saved_x, weight = saved_weight](Gradients& g) {
      bias_gradient(g, g.dy(), 2);
      if (const Grad dw = g.wanted(1)) g.backend().conv->backward_filter(geometry, g.dy(), x, dw);
      const Grad dx = g.wanted(0);
      if (!dx) return;
      if (dx.write == Write::overwrite) {
        g.backend().conv->forward(geometry, g.dy(), weight, {}, Activation::none, dx.view);
      } else {  // a forward convolution can't add to what is there
        const Tensor sum = g.temporary(dx.view.shape);
        g.backend().conv->forward(geometry, g.dy(), weight, {}, Activation::none, view(sum));
        g.backend().elementwise->axpby(1, cview(sum), 1, dx.view);
      }
    });
  }
  return y;
}

}  // namespace descent
