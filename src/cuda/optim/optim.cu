// Optim on CUDA.
#include "cuda/optim/optim.cuh"

#include "cuda/dispatch.h"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {
namespace {

class GpuOptim final : public Optim {
 public:
  explicit GpuOptim(Context& context) : context_(context) {}

  void advance(const OptimRule& rule, ConstView lr, View step, View coefficients) override {
    Stream& stream = context_.stream();
    std::visit(
        [&](const auto& o) { gpu::advance(stream, o, lr.as<double>(), step.as<double>(), coefficients.as<double>()); },
        rule);
  }

  void update(const OptimRule& rule, const StepState& s, View param, ConstView grad,
              std::span<const View> states) override {
    Stream& stream = context_.stream();
    for_floating(param.dtype, [&]<class T>(T) {
      OptimStates<T> buffers{};
      for (std::size_t j = 0; j < states.size(); ++j) buffers.buffer[j] = states[j].as<T>();
      std::visit(
          [&](const auto& o) { optim_update(stream, o, s, param.numel(), param.as<T>(), grad.as<T>(), buffers); },
          rule);
    });
  }

  void clip_factor(ConstView sum_of_squares, double max_norm, View factor) override {
    Stream& stream = context_.stream();
    gpu::clip_factor(stream, sum_of_squares.as<double>(), max_norm, factor.as<double>());
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Optim> make_optim(Context& context) { return std::make_unique<GpuOptim>(context); }

}  // namespace descent::gpu
