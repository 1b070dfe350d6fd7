// Optim on CUDA.
#include "cuda/kernels/optim.cuh"

#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"

namespace descent::gpu {
namespace {

OptimStep step_of(const StepState& s) {
  return {s.lr.as<double>(), s.step.as<double>(), s.nonfinite.as<std::int32_t>(), s.rates.as<double>()};
}

class GpuOptim final : public Optim {
 public:
  explicit GpuOptim(Context& context) : context_(context) {}

  void sgd(const Sgd& o, const StepState& s, View param, ConstView grad, View momentum) override {
    Queue& q = context_.queue();
    for_floating(param.dtype, [&]<class T>(T) {
      gpu::sgd(q, o, step_of(s), param.numel(), param.as<T>(), grad.as<T>(), momentum.as<T>());
    });
  }

  void rmsprop(const RmsProp& o, const StepState& s, View param, ConstView grad, View square_avg, View momentum,
               View grad_avg) override {
    Queue& q = context_.queue();
    for_floating(param.dtype, [&]<class T>(T) {
      gpu::rmsprop(q, o, step_of(s), param.numel(), param.as<T>(), grad.as<T>(), square_avg.as<T>(), momentum.as<T>(),
                   grad_avg.as<T>());
    });
  }

  void adam(const Adam& o, const StepState& s, View param, ConstView grad, View m, View v) override {
    Queue& q = context_.queue();
    for_floating(param.dtype, [&]<class T>(T) {
      gpu::adam(q, o, step_of(s), param.numel(), param.as<T>(), grad.as<T>(), m.as<T>(), v.as<T>());
    });
  }

  void advance(View step) override {
    Queue& q = context_.queue();
    advance_step(q, step.as<double>());
  }

  void advance_adam(const Adam& o, ConstView lr, View step, View rates) override {
    Queue& q = context_.queue();
    gpu::advance_adam(q, o, lr.as<double>(), step.as<double>(), rates.as<double>());
  }

  void clip_factor(ConstView sum_of_squares, double max_norm, View factor) override {
    Queue& q = context_.queue();
    gpu::clip_factor(q, sum_of_squares.as<double>(), max_norm, factor.as<double>());
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Optim> make_optim(Context& context) { return std::make_unique<GpuOptim>(context); }

}  // namespace descent::gpu
