// Reductions on a CUDA device; the kernels are in kernels/reduce*.cuh.
#include "cuda/reduce/reduce.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

// Calls f(T{}, Y{}) for the types of x and y; y may be f32 if x is bf16.
template <class F>
void for_result(DType x, DType y, F&& f) {
  if (x == DType::bf16 && y == DType::f32) return f(__nv_bfloat16{}, float{});
  for_storage(x, [&]<class T>(T type) { f(type, type); });
}

class GpuReduce final : public Reduce {
 public:
  explicit GpuReduce(Context& context) : context_(context) {}

  void reduce(ReduceOp op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) override {
    Stream& stream = context_.stream();
    if (!y) return;
    for_result(x.dtype, y.view.dtype, [&]<class T, class Y>(T, Y) {
      gpu::reduce(stream, op, x.as<T>(), outer, n, inner, y.view.as<Y>(), y.write);
    });
  }

  void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n, std::int64_t inner,
                    Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::max_backward<T>(stream, x.as<T>(), y.as<T>(), dy.as<T>(), outer, n, inner, dx.view.as<T>(), dx.write);
    });
  }

  void sum_to(ConstView x, Grad y) override {
    Stream& stream = context_.stream();
    if (!y) return;
    for_result(x.dtype, y.view.dtype, [&]<class T, class Y>(T, Y) {
      gpu::sum_to(stream, x.as<T>(), x.shape, y.view.shape, y.view.as<Y>(), y.write);
    });
  }

  void argmax_rows(ConstView x, View y) override {
    Stream& stream = context_.stream();
    const std::int64_t rows = y.numel(), n = rows == 0 ? 0 : x.numel() / rows;
    for_storage(x.dtype, [&]<class T>(T) { gpu::argmax_rows<T>(stream, x.as<T>(), rows, n, y.as<std::int32_t>()); });
  }

  void top_k(ConstView x, View values, View indices) override {
    Stream& stream = context_.stream();
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::top_k(stream, x.as<T>(), x.shape[0], x.shape[1], values.shape[1], values.as<T>(),
                 indices.as<std::int32_t>());
    });
  }

  void sum_of_squares(ConstView x, View y) override {
    Stream& stream = context_.stream();
    for_storage(x.dtype, [&]<class T>(T) { gpu::sum_of_squares<T>(stream, x.as<T>(), x.numel(), y.as<double>()); });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Reduce> make_reduce(Context& context) { return std::make_unique<GpuReduce>(context); }

}  // namespace descent::gpu
