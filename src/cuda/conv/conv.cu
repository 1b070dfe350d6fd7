// Conv on CUDA: our own kernels, or cuDNN if the build has it and the shape makes it worthwhile. Our own compute in f32
// and f64; bf16 goes through f32 cast buffers.
#include "cuda/conv/conv.cuh"

#include "cuda/cast_buffers.h"
#include "cuda/conv/unfused.cuh"
#include "cuda/dispatch.h"
#include "cuda/gemm/precision.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

#if DESCENT_HAS_CUDNN
#include "cuda/conv/cudnn.h"
#endif

namespace descent::gpu {
namespace {

#if DESCENT_HAS_CUDNN
bool worth_cudnn(const ConvShape& s, DType dtype) { return gpu::worth_cudnn(dtype, s.in_group(), s.out_group()); }
#endif

class GpuConv final : public Conv {
 public:
  explicit GpuConv(Context& context) : context_(context) {}

  void forward(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias, const Epilogue& epilogue, View y,
               View aux) override {
    if (epilogue.max_pool) return forward_pooled(g, x, w, bias, y, aux);
    const Activation activation = epilogue.activation;
    Stream& stream = context_.stream();
    const ConvShape s = conv_shape(g, x.shape, w.shape, y.shape);
#if DESCENT_HAS_CUDNN
    if (y.numel() > 0 && worth_cudnn(s, x.dtype) && cudnn_forward(context_, g, x, w, bias, activation, y)) return;
#endif
    CastBuffers casts(stream);
    x = casts.wide(x);
    y = casts.result(y);
    for_floating(x.dtype, [&]<class T>(T) {
      conv_forward(stream, s, x.as<T>(), w.as<T>(), bias.as<T>(), activation, y.as<T>());
    });
    casts.finish();
  }

  void backward_data(const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const ConvShape s = conv_shape(g, dx.view.shape, w.shape, dy.shape);
#if DESCENT_HAS_CUDNN
    if (any(dy, dx) && worth_cudnn(s, dy.dtype) && cudnn_backward_data(context_, g, dy, w, dx)) return;
#endif
    CastBuffers casts(stream);
    dy = casts.wide(dy);
    dx = casts.gradient(dx);
    for_floating(dy.dtype,
                 [&]<class T>(T) { conv_backward_data(stream, s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write); });
    casts.finish();
  }

  void backward_filter(const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw) override {
    Stream& stream = context_.stream();
    if (!dw) return;
    const ConvShape s = conv_shape(g, x.shape, dw.view.shape, dy.shape);
#if DESCENT_HAS_CUDNN
    if (any(dy, dw) && worth_cudnn(s, x.dtype) && cudnn_backward_filter(context_, g, x, dy, dw)) return;
#endif
    CastBuffers casts(stream);
    x = casts.wide(x);
    dy = casts.wide(dy);
    for_floating(x.dtype, [&]<class T>(T) {
      conv_backward_filter(stream, s, x.as<T>(), dy.as<T>(), dw.view.as<T>(), dw.write);
    });
  }

  void backward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView dy, ConstView aux, Grad dx,
                       Grad dw, Grad dbias) override {
    Stream& stream = context_.stream();
    const ConvShape s = conv_shape(g, x.shape, w.shape);
    if (by_parts(s, x.dtype)) {
      const Scratch<std::byte> memory(stream, bytes_before_pool(s, x.dtype));
      const View whole{memory.data(), shape_before_pool(s), x.dtype};
      siblings().pool->max_backward(Pool2dOptions(), dy, aux, {whole, Write::overwrite});
      backward_filter(g, x, whole, dw);
      backward_data(g, whole, w, dx);
      return siblings().reduce->reduce(ReduceOp::sum, whole, 1, whole.numel() / s.out_channels, s.out_channels, dbias);
    }
    CastBuffers casts(stream);
    x = casts.wide(x);
    dy = casts.wide(dy);
    dx = casts.gradient(dx);
    for_floating(x.dtype, [&]<class T>(T) {
      const ConvFilterTarget<T> target{dw.view.as<T>(), dbias.view.as<T>(), dw.write == Write::accumulate,
                                       dbias.write == Write::accumulate};
      conv_relu_pool_backward(stream, s, x.as<T>(), w.as<T>(), dy.as<T>(), aux.as<std::uint8_t>(), dx.view.as<T>(),
                              dx.write, target);
    });
    casts.finish();
  }

 private:
  void forward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias, View y, View aux) {
    Stream& stream = context_.stream();
    const ConvShape s = conv_shape(g, x.shape, w.shape);
    if (y.numel() == 0) return;
    if (by_parts(s, x.dtype)) {
      const Scratch<std::byte> memory(stream, bytes_before_pool(s, x.dtype));
      const View whole{memory.data(), shape_before_pool(s), x.dtype};
      forward(g, x, w, bias, Epilogue(), whole, {});
      siblings().pool->max_forward(Pool2dOptions(), whole, y, aux);
      return for_storage(y.dtype,
                         [&]<class T>(T) { relu_pooled(stream, y.numel(), y.as<T>(), aux.as<std::uint8_t>()); });
    }
    CastBuffers casts(stream);
    x = casts.wide(x);
    y = casts.result(y);
    for_floating(x.dtype, [&]<class T>(T) {
      conv_relu_pool(stream, s, x.as<T>(), w.as<T>(), bias.as<T>(), y.as<T>(), aux.as<std::uint8_t>());
    });
    casts.finish();
  }

  Backend& siblings() { return gpu::backend(context_.device()); }

  // Whether convolution, pooling and ReLU run as three primitives: if cuDNN may use tensor cores, which
  // our kernels don't.
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
