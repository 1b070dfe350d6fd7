// Elementwise on CUDA.
#include "cuda/dispatch.h"
#include "cuda/elementwise/broadcast.cuh"
#include "cuda/elementwise/elementwise.cuh"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

class GpuElementwise final : public Elementwise {
 public:
  explicit GpuElementwise(Context& context) : context_(context) {}

  void fill(View y, double value) override {
    Stream& stream = context_.stream();
    for_any(y.dtype, [&]<class T>(T) { gpu::fill(stream, convert_element<T>(value), y.numel(), y.as<T>()); });
  }

  void convert(ConstView x, View y) override {
    Stream& stream = context_.stream();
    for_any(x.dtype, [&]<class From>(From) {
      for_any(y.dtype, [&]<class To>(To) { gpu::convert(stream, x.numel(), x.as<From>(), y.as<To>()); });
    });
  }

  void unary(Unary op, double a, double b, ConstView x, View y) override {
    Stream& stream = context_.stream();
    for_storage(x.dtype, [&]<class T>(T) { gpu::unary(stream, op, a, b, x.numel(), x.as<T>(), y.as<T>()); });
  }

  void unary_backward(Unary op, double a, double b, ConstView x, ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    Stream& stream = context_.stream();
    for_storage(dy.dtype, [&]<class T>(T) {
      gpu::unary_backward(stream, op, a, b, dy.numel(), x.as<T>(), y.as<T>(), dy.as<T>(), dx.view.as<T>(), dx.write);
    });
  }

  void binary(Binary op, ConstView a, ConstView b, View y, Write write) override {
    if (y.numel() == 0) return;
    Stream& stream = context_.stream();
    const Broadcast shape(y.shape, a.shape, b.shape);
    for_storage(y.dtype, [&]<class T>(T) { gpu::binary(stream, op, shape, a.as<T>(), b.as<T>(), y.as<T>(), write); });
  }

  void axpby(double alpha, ConstView x, double beta, View y) override {
    Stream& stream = context_.stream();
    for_storage(y.dtype, [&]<class T>(T) { gpu::axpby(stream, alpha, x.as<T>(), beta, y.numel(), y.as<T>()); });
  }

  void scale_by(View x, ConstView factor) override {
    Stream& stream = context_.stream();
    for_storage(x.dtype, [&]<class T>(T) {
      for_floating(factor.dtype, [&]<class F>(F) { gpu::scale_by(stream, x.numel(), x.as<T>(), factor.as<F>()); });
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Elementwise> make_elementwise(Context& context) { return std::make_unique<GpuElementwise>(context); }

}  // namespace descent::gpu
