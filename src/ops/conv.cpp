// Convolutions on [N, H, W, C]. conv_transpose2d is the gradient of conv2d with respect to its input.
#include <fmt/format.h>

#include "core/conv_shape.h"
#include "core/fusion.h"
#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

void check_options(const char* op, const Conv2dFuncOptions& o) {
  const auto check = [op](const char* option, std::int64_t h, std::int64_t w, std::int64_t least,
                          const char* expected) {
    const std::int64_t wrong = h < least || h > kMaxOption ? h : w;
    check_option(wrong >= least && wrong <= kMaxOption, op, option, static_cast<double>(wrong), expected);
  };
  check("stride", o.stride_h, o.stride_w, 1, "1 to 2^30");
  check("padding", o.padding_h, o.padding_w, 0, "0 to 2^30");
  check("dilation", o.dilation_h, o.dilation_w, 1, "1 to 2^30");
  check("groups", o.groups, o.groups, 1, "1 to 2^30");
}

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

Shape conv_shape(const char* op, const Conv2dFuncOptions& g, const Tensor& x, const Tensor& weight) {
  const Shape& in = x.shape();
  const Shape& w = weight.shape();
  if (in[3] != w[3] * g.groups) {
    throw InvalidArgument(fmt::format("{}: input has {} channels, weight expects {}", op, in[3], w[3] * g.groups));
  }
  if (w[0] % g.groups != 0) {
    throw InvalidArgument(fmt::format("{}: {} output channels don't divide into {} groups", op, w[0], g.groups));
  }
  const Window down = window_h(g, w[1]), across = window_w(g, w[2]);
  if (down.outputs(in[1]) == 0 || across.outputs(in[2]) == 0) {
    throw InvalidArgument(fmt::format("{}: the kernel reaches over {}x{}, the padded input is {}x{}", op, down.extent(),
                                      across.extent(), in[1] + 2 * g.padding_h, in[2] + 2 * g.padding_w));
  }
  return {in[0], down.outputs(in[1]), across.outputs(in[2]), w[0]};
}

void bias_gradient(Gradients& g, ConstView dy, std::size_t input) {
  const std::int64_t channels = dy.shape[-1];
  const Grad db = g.input_grad(input, {1, channels});
  if (db) g.backend().reduce->reduce(ReduceOp::sum, dy, 1, dy.shape.product(0, dy.shape.rank() - 1), channels, db);
}

// conv2d with an epilogue that pools; `full` is the shape before it.
Tensor conv2d_pooled(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dFuncOptions& options,
                     const Epilogue& epilogue, const Shape& full) {
  if (full[1] < 2 || full[2] < 2) {
    throw InvalidArgument(
        fmt::format("conv2d: the convolution gives {}x{}, expected 2x2 or more to pool", full[1], full[2]));
  }
  Tensor y = empty_of({full[0], full[1] / 2, full[2] / 2, full[3]}, x);
  const Tensor aux = Tensor::empty(y.shape(), DType::u8, y.device());
  backend_of(x).conv->forward(options, cview(x), cview(weight), cview(bias), epilogue, view(y), view(aux));
  if (recording(x, weight, bias)) {
    record("conv2d", {&x, &weight, &bias}, y,
           [options, x = Saved(x), weight = Saved(weight), aux = Saved(aux)](Gradients& g) {
             const Grad dx = g.input_grad(0);
             const Grad dw = g.input_grad(1);
             const Grad dbias = g.input_grad(2);
             g.backend().conv->backward_pooled(options, x, weight, g.dy(), aux, dx, dw, dbias);
           });
  }
  return y;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dFuncOptions& options,
              const Epilogue& epilogue) {
  if (!fuses(Fusible::conv2d, epilogue)) return in_parts(conv2d(x, weight, bias, options), epilogue);
  check_options("conv2d", options);
  check_operands("conv2d", x, weight, bias, weight.defined() && weight.rank() == 4 ? weight.shape()[0] : 0);
  const Shape full = conv_shape("conv2d", options, x, weight);
  if (epilogue.max_pool) return conv2d_pooled(x, weight, bias, options, epilogue, full);
  Tensor y = empty_of(full, x);
  backend_of(x).conv->forward(options, cview(x), cview(weight), cview(bias), epilogue, view(y));
  if (recording(x, weight, bias)) {
    const bool relu = epilogue.activation == Activation::relu;
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    record("conv2d", {&x, &weight, &bias}, y,
           [options, x = saved_x, weight = saved_weight, y = saved_if(relu, y)](Gradients& g) {
             Tensor masked;
             const ConstView dy = y ? through_relu(g, y, masked) : g.dy();
             bias_gradient(g, dy, 2);
             if (const Grad dw = g.input_grad(1)) g.backend().conv->backward_filter(options, x, dy, dw);
             if (const Grad dx = g.input_grad(0)) g.backend().conv->backward_data(options, dy, weight, dx);
           });
  }
  return y;
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dFuncOptions& options,
                        std::int64_t output_padding_h, std::int64_t output_padding_w) {
  constexpr const char* kOp = "conv_transpose2d";
  check_options(kOp, options);
  const std::int64_t out = weight.defined() && weight.rank() == 4 ? weight.shape()[3] * options.groups : 0;
  check_operands(kOp, x, weight, bias, out);
  const Shape& in = x.shape();
  const Shape& w = weight.shape();
  if (in[3] != w[0])
    throw InvalidArgument(fmt::format("{}: input has {} channels, weight expects {}", kOp, in[3], w[0]));
  if (in[3] % options.groups != 0) {
    throw InvalidArgument(fmt::format("{}: {} input channels don't divide into {} groups", kOp, in[3], options.groups));
  }
  const auto size = [&](const Window& window, std::int64_t from, std::int64_t extra) {
    check_option(extra >= 0 && extra < std::max(window.stride, window.dilation), kOp, "output_padding",
                 static_cast<double>(extra), "0 or more, and less than the stride or the dilation");
    const std::int64_t to = window.inputs(from, extra);
    check_option(from >= 1 && to >= 1, kOp, "the output's size", static_cast<double>(to), "1 or more");
    return to;
  };
  const std::int64_t height = size(window_h(options, w[1]), in[1], output_padding_h);
  const std::int64_t width = size(window_w(options, w[2]), in[2], output_padding_w);
  Tensor y = empty_of({in[0], height, width, out}, x);
  backend_of(x).conv->backward_data(options, cview(x), cview(weight), {view(y), Write::overwrite});
  if (bias.defined()) {
    const Tensor addend = bias.detach().to(x.dtype());
    const Tensor one = Tensor::ones({1}, x.dtype(), x.device());
    backend_of(x).elementwise->binary(Binary::mul, cview(addend), cview(one), view(y), Write::accumulate);
  }
  if (recording(x, weight, bias)) {
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    record(kOp, {&x, &weight, &bias}, y, [options, x = saved_x, weight = saved_weight](Gradients& g) {
      bias_gradient(g, g.dy(), 2);
      if (const Grad dw = g.input_grad(1)) g.backend().conv->backward_filter(options, g.dy(), x, dw);
      const Grad dx = g.input_grad(0);
      if (!dx) return;
      if (dx.write == Write::overwrite) {
        g.backend().conv->forward(options, g.dy(), weight, {}, Epilogue(), dx.view);
      } else {  // forward() can't accumulate
        const Tensor sum = g.temporary(dx.view.shape);
        g.backend().conv->forward(options, g.dy(), weight, {}, Epilogue(), view(sum));
        g.backend().elementwise->axpby(1, cview(sum), 1, dx.view);
      }
    });
  }
  return y;
}

}  // namespace descent
