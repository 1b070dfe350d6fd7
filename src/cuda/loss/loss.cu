// Loss on CUDA.
#include "cuda/loss/loss.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

class GpuLoss final : public Loss {
 public:
  explicit GpuLoss(Context& context) : context_(context) {}

  void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                     View dlogits, View num_correct) override {
    Stream& stream = context_.stream();
    const bool labels = target.dtype == DType::i32;
    for_floating(logits.dtype, [&]<class T>(T) {
      gpu::cross_entropy<T>(stream, c, logits.as<T>(), labels ? target.as<std::int32_t>() : nullptr,
                            labels ? nullptr : target.as<T>(), weight.as<T>(), logits.shape[0], logits.shape[-1],
                            loss.as<T>(), dlogits.as<T>(), num_correct.as<std::int32_t>());
    });
  }

  void mse(Reduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    Stream& stream = context_.stream();
    for_floating(x.dtype, [&]<class T>(T) {
      gpu::mse<T>(stream, reduction, x.as<T>(), target.as<T>(), x.numel(), loss.as<T>(), dx.as<T>());
    });
  }

  void bce_with_logits(Reduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    Stream& stream = context_.stream();
    for_floating(x.dtype, [&]<class T>(T) {
      gpu::bce_with_logits<T>(stream, reduction, x.as<T>(), target.as<T>(), x.numel(), loss.as<T>(), dx.as<T>());
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Loss> make_loss(Context& context) { return std::make_unique<GpuLoss>(context); }

}  // namespace descent::gpu
