// The conv family: chooses between the fast path and the plain loops.
#include "backend.h"
#include "cpu/conv_fast.h"
#include "cpu/conv_reference.h"
#include "cpu/dispatch.h"
#include "cpu/families.h"
#include "cpu/scratch.h"

namespace descent::cpu {
namespace {

// The shape of the convolution in front of a pooling, whose own output has no tensor.
ConvShape shape_before_pool(const ConvGeometry& g, const Shape& x, const Shape& w) {
  const auto size = [](std::int64_t in, std::int64_t kernel, std::int64_t pad, std::int64_t stride,
                       std::int64_t dilation) { return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1; };
  const Shape y{x[0], size(x[1], w[1], g.pad_h, g.stride_h, g.dilation_h),
                size(x[2], w[2], g.pad_w, g.stride_w, g.dilation_w), w[0]};
  return conv_shape(g, x, w, y);
}

template <class T>
void pooled_backward_reference(const ConvShape& s, const T* x, const T* w, const T* dy, const std::uint8_t* code,
                               const ConvGradients<T>& to) {
  const std::int64_t elements = s.images * s.out_image();
  const Scratch<T> full(elements);
  conv_expand_reference(s, dy, code, full.data());
  if (to.dx != nullptr) conv_data_reference(s, full.data(), w, to.dx, to.write_dx);
  if (to.dw != nullptr) conv_filter_reference(s, x, full.data(), to.dw, to.write_dw);
  if (to.dbias != nullptr) {
    conv_bias_reference(s.images * s.out_height * s.out_width, s.out_channels, full.data(), to.dbias, to.write_dbias);
  }
}

class CpuConv final : public Conv {
 public:
  void forward(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias, Activation activation,
               View y) override {
    const ConvShape s = conv_shape(g, x.shape, w.shape, y.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      if (fast(s) && conv_forward_fast(s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>())) return;
      conv_forward_reference(s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>());
    });
  }

  void backward_data(const ConvGeometry& g, ConstView dy, ConstView w, Grad dx) override {
    const ConvShape s = conv_shape(g, dx.view.shape, w.shape, dy.shape);
    for_floating(dy.dtype, [&]<class T>(T) {
      if (fast(s) && conv_data_fast(s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write)) return;
      conv_data_reference(s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write);
    });
  }

  void backward_filter(const ConvGeometry& g, ConstView x, ConstView dy, Grad dw) override {
    const ConvShape s = conv_shape(g, x.shape, dw.view.shape, dy.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      if (fast(s) && conv_filter_fast(s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write)) return;
      conv_filter_reference(s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write);
    });
  }

  void forward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias, View y, View code) override {
    const ConvShape s = shape_before_pool(g, x.shape, w.shape);
    if (y.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) {
      std::uint8_t* codes = code.as<std::uint8_t>();
      if (fast(s) && conv_pooled_fast(s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), codes)) return;
      conv_pooled_reference(s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), codes);
    });
  }

  void backward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView dy, ConstView code, Grad dx,
                          Grad dw, Grad dbias) override {
    const ConvShape s = shape_before_pool(g, x.shape, w.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      const ConvGradients<T> to{dx.view.as<T>(), dw.view.as<T>(), dbias.view.as<T>(), dx.write, dw.write, dbias.write};
      const auto* codes = code.as<std::uint8_t>();
      if (fast(s) && conv_pooled_backward_fast(s, x.as<T>(), w.as<T>(), dy.as<T>(), codes, to)) return;
      pooled_backward_reference(s, x.as<T>(), w.as<T>(), dy.as<T>(), codes, to);
    });
  }

 private:
  static bool fast(const ConvShape& s) { return !reference_only() && !s.empty(); }
};

}  // namespace

Conv* conv_family() {
  static CpuConv* const family = new CpuConv;
  return family;
}

}  // namespace descent::cpu
