// Pool on CUDA.
#include "cuda/pool/pool.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

PoolSize size_of_pool(const Pool2dOptions& g, const Shape& x, const Shape& y) {
  return {x[0], x[1], x[2], x[3], y[1], y[2], g};
}

bool is_bits(const ConstView& code) { return code.shape.rank() == 1; }

class GpuPool final : public descent::Pool {
 public:
  explicit GpuPool(Context& context) : context_(context) {}

  AuxSpec max_aux(const Pool2dOptions& g, const Shape& y, DType dtype) const override {
    bool bits = false;
    for_storage(dtype, [&]<class T>(T) { bits = takes_pool_bits<T>(g, y[3]); });
    if (bits) return {{y.numel() / 4}, DType::u8};
    return {y, g.kernel_h * g.kernel_w <= 256 ? DType::u8 : DType::i32};
  }

  void max_forward(const Pool2dOptions& g, ConstView x, View y, View code) override {
    Stream& stream = context_.stream();
    const PoolSize s = size_of_pool(g, x.shape, y.shape);
    for_storage(x.dtype, [&]<class T>(T) {
      if (is_bits(code)) return max_pool_bits(stream, s, x.as<T>(), y.as<T>(), code.as<std::uint8_t>());
      if (code.dtype == DType::u8) return max_pool(stream, s, x.as<T>(), y.as<T>(), code.as<std::uint8_t>());
      max_pool(stream, s, x.as<T>(), y.as<T>(), code.as<std::int32_t>());
    });
  }

  void max_backward(const Pool2dOptions& g, ConstView dy, ConstView code, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const PoolSize s = size_of_pool(g, dx.view.shape, dy.shape);
    for_storage(dy.dtype, [&]<class T>(T) {
      T* const to = dx.view.as<T>();
      if (is_bits(code)) return max_pool_bits_backward(stream, s, dy.as<T>(), code.as<std::uint8_t>(), to, dx.write);
      if (code.dtype == DType::u8)
        return max_pool_backward(stream, s, dy.as<T>(), code.as<std::uint8_t>(), to, dx.write);
      max_pool_backward(stream, s, dy.as<T>(), code.as<std::int32_t>(), to, dx.write);
    });
  }

  void average_forward(const Pool2dOptions& g, ConstView x, View y) override {
    Stream& stream = context_.stream();
    const PoolSize s = size_of_pool(g, x.shape, y.shape);
    for_storage(x.dtype, [&]<class T>(T) { average_pool(stream, s, x.as<T>(), y.as<T>()); });
  }

  void average_backward(const Pool2dOptions& g, ConstView dy, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const PoolSize s = size_of_pool(g, dx.view.shape, dy.shape);
    for_storage(dy.dtype, [&]<class T>(T) { average_pool_backward(stream, s, dy.as<T>(), dx.view.as<T>(), dx.write); });
  }

  void global_average_forward(ConstView x, View y) override {
    Stream& stream = context_.stream();
    const Shape& in = x.shape;
    for_storage(x.dtype,
                [&]<class T>(T) { global_average_pool(stream, in[0], in[1] * in[2], in[3], x.as<T>(), y.as<T>()); });
  }

  void global_average_backward(ConstView dy, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const Shape& in = dx.view.shape;
    for_storage(dy.dtype, [&]<class T>(T) {
      global_average_pool_backward(stream, in[0], in[1] * in[2], in[3], dy.as<T>(), dx.view.as<T>(), dx.write);
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Pool> make_pool(Context& context) { return std::make_unique<GpuPool>(context); }

}  // namespace descent::gpu
