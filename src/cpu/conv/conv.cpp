// Conv on the CPU: chooses between the fast path and the reference implementation.
#include "backend/backend.h"
#include "cpu/conv/fast.h"
#include "cpu/conv/reference.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/scratch.h"

namespace descent::cpu {
namespace {

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
  void forward(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias, const Epilogue& epilogue, View y,
               View aux) override {
    if (epilogue.max_pool) return forward_pooled(g, x, w, bias, y, aux);
    const Activation activation = epilogue.activation;
    const ConvShape s = conv_shape(g, x.shape, w.shape, y.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      if (fast(s) && conv_forward_fast(s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>())) return;
      conv_forward_reference(s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>());
    });
  }

  void backward_data(const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx) override {
    const ConvShape s = conv_shape(g, dx.view.shape, w.shape, dy.shape);
    for_floating(dy.dtype, [&]<class T>(T) {
      if (fast(s) && conv_data_fast(s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write)) return;
      conv_data_reference(s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write);
    });
  }

  void backward_filter(const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw) override {
    const ConvShape s = conv_shape(g, x.shape, dw.view.shape, dy.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      if (fast(s) && conv_filter_fast(s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write)) return;
      conv_filter_reference(s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write);
    });
  }

  void backward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView dy, ConstView aux, Grad dx,
                       Grad dw, Grad dbias) override {
    const ConvShape s = conv_shape(g, x.shape, w.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      const ConvGradients<T> to{dx.view.as<T>(), dw.view.as<T>(), dbias.view.as<T>(), dx.write, dw.write, dbias.write};
      const auto* codes = aux.as<std::uint8_t>();
      if (fast(s) && conv_pooled_backward_fast(s, x.as<T>(), w.as<T>(), dy.as<T>(), codes, to)) return;
      pooled_backward_reference(s, x.as<T>(), w.as<T>(), dy.as<T>(), codes, to);
    });
  }

 private:
  static void forward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias, View y, View aux) {
    const ConvShape s = conv_shape(g, x.shape, w.shape);
    if (y.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) {
      std::uint8_t* codes = aux.as<std::uint8_t>();
      if (fast(s) && conv_pooled_fast(s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), codes)) return;
      conv_pooled_reference(s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), codes);
    });
  }

  static bool fast(const ConvShape& s) { return !reference_only() && !s.empty(); }
};

}  // namespace

Conv* conv_ops() {
  static CpuConv* const group = new CpuConv;
  return group;
}

}  // namespace descent::cpu
