// Softmax on CUDA.
#include "cuda/softmax/softmax.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"
#include "cuda/softmax/backward.cuh"

namespace descent::gpu {
namespace {

struct Rows {
  std::int64_t rows, n;

  explicit Rows(const Shape& shape) : n(shape.rank() == 0 ? 1 : shape[-1]) { rows = n == 0 ? 0 : shape.numel() / n; }
};

class GpuSoftmax final : public Softmax {
 public:
  explicit GpuSoftmax(Context& context) : context_(context) {}

  void softmax(ConstView x, View y) override {
    Stream& stream = context_.stream();
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) { gpu::softmax<T>(stream, x.as<T>(), y.as<T>(), size.rows, size.n); });
  }

  void softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      gpu::softmax_backward<T>(stream, y.as<T>(), dy.as<T>(), size.rows, size.n, dx.view.as<T>(), dx.write);
    });
  }

  void log_softmax(ConstView x, View y) override {
    Stream& stream = context_.stream();
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) { gpu::log_softmax<T>(stream, x.as<T>(), y.as<T>(), size.rows, size.n); });
  }

  void log_softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      gpu::log_softmax_backward<T>(stream, y.as<T>(), dy.as<T>(), size.rows, size.n, dx.view.as<T>(), dx.write);
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Softmax> make_softmax(Context& context) { return std::make_unique<GpuSoftmax>(context); }

}  // namespace descent::gpu
