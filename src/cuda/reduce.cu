// Reductions on a CUDA device; the kernels are in kernels/reduce*.cuh.
#include "cuda/kernels/reduce.cuh"

#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"

namespace descent::gpu {
namespace {

// f(T{}, Y{}) for the types of x and y, which may be f32 beside bf16.
template <class F>
void for_result(DType x, DType y, F&& f) {
  if (x == DType::bf16 && y == DType::f32) return f(__nv_bfloat16{}, float{});
  for_storage(x, [&]<class T>(T type) { f(type, type); });
}

class GpuReduce final : public Reduce {
 public:
  explicit GpuReduce(Context& context) : context_(context) {}

  void reduce(Reduction op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) override {
    Queue& q = context_.queue();
    if (!y) return;
    for_result(x.dtype, y.view.dtype, [&]<class T, class Y>(T, Y) {
      gpu::reduce(q, op, x.as<T>(), outer, n, inner, y.view.as<Y>(), y.write);
    });
  }

  void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n, std::int64_t inner,
                    Grad dx) override {
    Queue& q = context_.queue();
    if (!dx) return;
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::max_backward<T>(q, x.as<T>(), y.as<T>(), dy.as<T>(), outer, n, inner, dx.view.as<T>(), dx.write);
    });
  }

  void sum_to(ConstView x, Grad y) override {
    Queue& q = context_.queue();
    if (!y) return;
    for_result(x.dtype, y.view.dtype, [&]<class T, class Y>(T, Y) {
      gpu::sum_to(q, x.as<T>(), x.shape, y.view.shape, y.view.as<Y>(), y.write);
    });
  }

  void argmax_rows(ConstView x, View y) override {
    Queue& q = context_.queue();
    const std::int64_t rows = y.numel(), n = rows == 0 ? 0 : x.numel() / rows;
    for_storage(x.dtype, [&]<class T>(T) { gpu::argmax_rows<T>(q, x.as<T>(), rows, n, y.as<std::int32_t>()); });
  }

  void top_k(ConstView x, View values, View places) override {
    Queue& q = context_.queue();
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::top_k(q, x.as<T>(), x.shape[0], x.shape[1], values.shape[1], values.as<T>(), places.as<std::int32_t>());
    });
  }

  void sum_of_squares(ConstView x, View y) override {
    Queue& q = context_.queue();
    for_storage(x.dtype, [&]<class T>(T) { gpu::sum_of_squares<T>(q, x.as<T>(), x.numel(), y.as<double>()); });
  }

  void first_nonfinite(ConstView x, View y) override {
    Queue& q = context_.queue();
    for_storage(x.dtype, [&]<class T>(T) { gpu::first_nonfinite<T>(q, x.as<T>(), x.numel(), y.as<double>()); });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Reduce> make_reduce(Context& context) { return std::make_unique<GpuReduce>(context); }

}  // namespace descent::gpu
