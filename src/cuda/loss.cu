// Losses on a CUDA device; the kernels are in kernels/loss*.cuh.
#include "cuda/kernels/loss.cuh"

#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"

namespace descent::gpu {
namespace {

struct LossRows {
  std::int64_t rows, n;

  explicit LossRows(const Shape& shape) : n(shape.rank() == 0 ? 1 : shape[-1]) {
    rows = n == 0 ? 0 : shape.numel() / n;
  }
};

class GpuLoss final : public Loss {
 public:
  explicit GpuLoss(Context& context) : context_(context) {}

  void softmax(ConstView x, View y) override {
    Queue& q = context_.queue();
    const LossRows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) { gpu::softmax<T>(q, x.as<T>(), y.as<T>(), size.rows, size.n); });
  }

  void softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    Queue& q = context_.queue();
    if (!dx) return;
    const LossRows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      gpu::softmax_backward<T>(q, y.as<T>(), dy.as<T>(), size.rows, size.n, dx.view.as<T>(), dx.write);
    });
  }

  void log_softmax(ConstView x, View y) override {
    Queue& q = context_.queue();
    const LossRows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) { gpu::log_softmax<T>(q, x.as<T>(), y.as<T>(), size.rows, size.n); });
  }

  void log_softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    Queue& q = context_.queue();
    if (!dx) return;
    const LossRows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      gpu::log_softmax_backward<T>(q, y.as<T>(), dy.as<T>(), size.rows, size.n, dx.view.as<T>(), dx.write);
    });
  }

  void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                     View dlogits, View hits) override {
    Queue& q = context_.queue();
    const bool labels = target.dtype == DType::i32;
    for_floating(logits.dtype, [&]<class T>(T) {
      gpu::cross_entropy<T>(q, c, logits.as<T>(), labels ? target.as<std::int32_t>() : nullptr,
                            labels ? nullptr : target.as<T>(), weight.as<T>(), logits.shape[0], logits.shape[-1],
                            loss.as<T>(), dlogits.as<T>(), hits.as<std::int32_t>());
    });
  }

  void mse(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    Queue& q = context_.queue();
    for_floating(x.dtype, [&]<class T>(T) {
      gpu::mse<T>(q, reduction, x.as<T>(), target.as<T>(), x.numel(), loss.as<T>(), dx.as<T>());
    });
  }

  void bce_with_logits(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    Queue& q = context_.queue();
    for_floating(x.dtype, [&]<class T>(T) {
      gpu::bce_with_logits<T>(q, reduction, x.as<T>(), target.as<T>(), x.numel(), loss.as<T>(), dx.as<T>());
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Loss> make_loss(Context& context) { return std::make_unique<GpuLoss>(context); }

}  // namespace descent::gpu
