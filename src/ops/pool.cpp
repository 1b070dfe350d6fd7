// Pooling of [N, H, W, C]: maximum, average, and the average of a whole image.
#include <fmt/format.h>

#include "core/conv_shape.h"
#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

void check_options(const char* op, const Pool2dOptions& o) {
  const auto check = [op](const char* option, std::int64_t h, std::int64_t w) {
    const std::int64_t wrong = h < 1 || h > kMaxOption ? h : w;
    check_option(wrong >= 1 && wrong <= kMaxOption, op, option, static_cast<double>(wrong), "1 to 2^30");
  };
  check("kernel", o.kernel_h, o.kernel_w);
  check("stride", o.stride_h, o.stride_w);
  const bool fits_h = o.padding_h >= 0 && o.padding_h <= o.kernel_h / 2;
  const bool fits_w = o.padding_w >= 0 && o.padding_w <= o.kernel_w / 2;
  check_option(fits_h && fits_w, op, "padding", static_cast<double>(fits_h ? o.padding_w : o.padding_h),
               "0 to half the kernel");
}

// A window that holds only padding has no maximum.
void check_image(const char* op, const Shape& in) {
  if (in[1] >= 1 && in[2] >= 1) return;
  throw InvalidArgument(fmt::format("{}: input has shape {}, expected images of 1x1 or more", op, to_string(in)));
}

Shape pooled(const char* op, const Pool2dOptions& g, const Tensor& x) {
  check_floating(op, "input", x);
  check_rank(op, "input", x, 4);
  const Shape& in = x.shape();
  check_image(op, in);
  const std::int64_t height = window_h(g).outputs(in[1]), width = window_w(g).outputs(in[2]);
  if (height == 0 || width == 0) {
    throw InvalidArgument(fmt::format("{}: the window is {}x{}, the padded input {}x{}", op, g.kernel_h, g.kernel_w,
                                      in[1] + 2 * g.padding_h, in[2] + 2 * g.padding_w));
  }
  return {in[0], height, width, in[3]};
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check_options("max_pool2d", options);
  Tensor y = empty_of(pooled("max_pool2d", options, x), x);
  const AuxSpec spec = backend_of(x).pool->max_aux(options, y.shape(), y.dtype());
  const Tensor aux = Tensor::empty(spec.shape, spec.dtype, y.device());
  backend_of(x).pool->max_forward(options, cview(x), view(y), view(aux));
  if (recording(x)) {
    record("max_pool2d", {&x}, y, [options, aux = Saved(aux)](Gradients& g) {
      const Grad dx = g.input_grad(0);
      g.backend().pool->max_backward(options, g.dy(), aux, dx);
    });
  }
  return y;
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check_options("avg_pool2d", options);
  Tensor y = empty_of(pooled("avg_pool2d", options, x), x);
  backend_of(x).pool->average_forward(options, cview(x), view(y));
  if (recording(x)) {
    record("avg_pool2d", {&x}, y, [options](Gradients& g) {
      const Grad dx = g.input_grad(0);
      g.backend().pool->average_backward(options, g.dy(), dx);
    });
  }
  return y;
}

Tensor global_avg_pool2d(const Tensor& x) {
  check_floating("global_avg_pool2d", "input", x);
  check_rank("global_avg_pool2d", "input", x, 4);
  const Shape& in = x.shape();
  check_image("global_avg_pool2d", in);
  Tensor y = empty_of({in[0], in[3]}, x);
  backend_of(x).pool->global_average_forward(cview(x), view(y));
  if (recording(x)) {
    record("global_avg_pool2d", {&x}, y, [](Gradients& g) {
      const Grad dx = g.input_grad(0);
      g.backend().pool->global_average_backward(g.dy(), dx);
    });
  }
  return y;
}

}  // namespace descent
