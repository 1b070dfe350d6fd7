// Conv on CUDA: kernels of our own, and cuDNN in front of them where the build has it and the shape makes it worth
// while. Our own compute in f32 and f64; bf16 comes to them by way of f32 twins.
#include "cuda/kernels/conv.cuh"

#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"
#include "cuda/kernels/conv_apart.cuh"
#include "cuda/precision.h"
#include "cuda/twins.h"

#if DESCENT_HAS_CUDNN
#include "cuda/conv_cudnn.h"
#endif

namespace descent::gpu {
namespace {

#if DESCENT_HAS_CUDNN
bool worth_cudnn(const ConvShape& s, DType dtype) { return gpu::worth_cudnn(dtype, s.in_group(), s.out_group()); }
#endif

class GpuConv final : public Conv {
 public:
  explicit GpuConv(Context& context) : context_(context) {}

  void forward(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias, Activation activation,
               View y) override {
    Queue& q = context_.queue();
    const ConvShape s = conv_shape(g, x.shape, w.shape, y.shape);
#if DESCENT_HAS_CUDNN
    if (y.numel() > 0 && worth_cudnn(s, x.dtype) && cudnn_forward(context_, g, x, w, bias, activation, y)) return;
#endif
    Twins twins(q);
    x = twins.wide(x);
    y = twins.result(y);
    for_floating(x.dtype,
                 [&]<class T>(T) { conv_forward(q, s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>()); });
    twins.finish();
  }

  void backward_data(const ConvGeometry& g, ConstView dy, ConstView w, Grad dx) override {
    Queue& q = context_.queue();
    if (!dx) return;
    const ConvShape s = conv_shape(g, dx.view.shape, w.shape, dy.shape);
#if DESCENT_HAS_CUDNN
    if (any(dy, dx) && worth_cudnn(s, dy.dtype) && cudnn_backward_data(context_, g, dy, w, dx)) return;
#endif
    Twins twins(q);
    dy = twins.wide(dy);
    dx = twins.gradient(dx);
    for_floating(dy.dtype,
                 [&]<class T>(T) { conv_backward_data(q, s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write); });
    twins.finish();
  }

  void backward_filter(const ConvGeometry& g, ConstView x, ConstView dy, Grad dw) override {
    Queue& q = context_.queue();
    if (!dw) return;
    const ConvShape s = conv_shape(g, x.shape, dw.view.shape, dy.shape);
#if DESCENT_HAS_CUDNN
    if (any(dy, dw) && worth_cudnn(s, x.dtype) && cudnn_backward_filter(context_, g, x, dy, dw)) return;
#endif
    Twins twins(q);
    x = twins.wide(x);
    dy = twins.wide(dy);
    for_floating(x.dtype,
                 [&]<class T>(T) { conv_backward_filter(q, s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write); });
  }

  void forward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias, View y, View code) override {
    Queue& q = context_.queue();
    const ConvShape s = conv_shape_before_pool(g, x.shape, w.shape);
    if (y.numel() == 0) return;
    if (by_parts(s, x.dtype)) {
      const Scratch<std::byte> memory(q, bytes_before_pool(s, x.dtype));
      const View whole{memory.data(), shape_before_pool(s), x.dtype};
      forward(g, x, w, bias, Activation::none, whole);
      siblings().pool->max_forward(PoolGeometry(), whole, y, code);
      return for_storage(y.dtype, [&]<class T>(T) { relu_pooled(q, y.numel(), y.as<T>(), code.as<std::uint8_t>()); });
    }
    Twins twins(q);
    x = twins.wide(x);
    y = twins.result(y);
    for_floating(x.dtype, [&]<class T>(T) {
      conv_relu_pool(q, s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), code.as<std::uint8_t>());
    });
    twins.finish();
  }

  void backward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView dy, ConstView code, Grad dx,
                          Grad dw, Grad dbias) override {
    Queue& q = context_.queue();
    const ConvShape s = conv_shape_before_pool(g, x.shape, w.shape);
    if (by_parts(s, x.dtype)) {
      const Scratch<std::byte> memory(q, bytes_before_pool(s, x.dtype));
      const View whole{memory.data(), shape_before_pool(s), x.dtype};
      siblings().pool->max_backward(PoolGeometry(), dy, code, {whole, Write::overwrite});
      backward_filter(g, x, whole, dw);
      backward_data(g, whole, w, dx);
      return siblings().reduce->reduce(Reduction::sum, whole, 1, whole.numel() / s.out_channels, s.out_channels, dbias);
    }
    Twins twins(q);
    x = twins.wide(x);
    dy = twins.wide(dy);
    dx = twins.gradient(dx);
    for_floating(x.dtype, [&]<class T>(T) {
      const ConvFilterTarget<T> target{dw.view.as<T>(), dbias.view.as<T>(), dw.write == Write::accumulate,
                                       dbias.write == Write::accumulate};
      conv_relu_pool_backward(q, s, x.as<T>(), w.as<T>(), dy.as<T>(), code.as<std::uint8_t>(), dx.view.as<T>(),
                              dx.write, target);
    });
    twins.finish();
  }

 private:
  Backend& siblings() { return gpu::backend(context_.device()); }

  // Whether convolution, ReLU and pooling are three primitives: where cuDNN may use the tensor cores, which ours
  // doesn't.
  static bool by_parts(const ConvShape& s, DType dtype) {
#if DESCENT_HAS_CUDNN
    const bool tensor_cores = dtype == DType::bf16 || (dtype == DType::f32 && precision() == Precision::tf32);
    return tensor_cores && s.images > 0 && worth_cudnn(s, dtype);
#else
    static_cast<void>(s);
    static_cast<void>(dtype);
    return false;
#endif
  }
  static Shape shape_before_pool(const ConvShape& s) { return {s.images, s.out_height, s.out_width, s.out_channels}; }
  static std::int64_t bytes_before_pool(const ConvShape& s, DType dtype) {
    return shape_before_pool(s).numel() * static_cast<std::int64_t>(size_of(dtype));
  }

#if DESCENT_HAS_CUDNN
  static bool any(const ConstView& from, const Grad& to) { return from.numel() > 0 && to.view.numel() > 0; }
#endif

  Context& context_;
};

}  // namespace

std::unique_ptr<Conv> make_conv(Context& context) { return std::make_unique<GpuConv>(context); }

}  // namespace descent::gpu
