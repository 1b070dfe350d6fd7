// Norm on the CPU: dispatches each primitive to its fast path or to the reference implementation.
#include "cpu/dispatch.h"
#include "cpu/norm/internal.h"
#include "cpu/op_groups.h"

namespace descent::cpu {
namespace {

class CpuNorm final : public Norm {
 public:
  void batch_train(const BatchNormState& s, ConstView x, const Epilogue& epilogue, View y, View mean, View inv_std,
                   View aux) override {
    if (reference_only()) return norm_reference()->batch_train(s, x, epilogue, y, mean, inv_std, aux);
    if (mean.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) {
      if (epilogue.max_pool) return batch_train_pooled<T>(s, x, y, aux, mean, inv_std);
      cpu::batch_train<T>(s, x, epilogue.activation, y, mean, inv_std);
    });
  }

  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    if (reference_only()) return norm_reference()->batch_eval(s, x, activation, y);
    if (x.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_eval<T>(s, x, activation, y); });
  }

  void batch_backward(bool training, const Epilogue& epilogue, ConstView x, ConstView saved, ConstView dy,
                      ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    if (reference_only()) {
      return norm_reference()->batch_backward(training, epilogue, x, saved, dy, gamma, mean, inv_std, dx, dgamma,
                                              dbeta);
    }
    if (mean.numel() == 0) return;
    const BatchGradientRequest r{training, gamma, mean, inv_std, dx, dgamma, dbeta};
    for_floating(x.dtype, [&]<class T>(T) {
      if (epilogue.max_pool) return batch_backward_pooled<T>(r, x, dy, saved);
      cpu::batch_backward<T>(r, epilogue.activation, x, saved, dy);
    });
  }

  void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) override {
    if (reference_only()) return norm_reference()->layer(x, gamma, beta, eps, y, mean, inv_std);
    for_floating(x.dtype, [&]<class T>(T) { layer_forward<T>(x, gamma, beta, eps, y, mean, inv_std); });
  }

  void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                      Grad dgamma, Grad dbeta) override {
    if (reference_only()) return norm_reference()->layer_backward(x, dy, gamma, mean, inv_std, dx, dgamma, dbeta);
    for_floating(x.dtype, [&]<class T>(T) { cpu::layer_backward<T>(x, dy, gamma, mean, inv_std, dx, dgamma, dbeta); });
  }
};

}  // namespace

Norm* norm_ops() {
  static CpuNorm* const group = new CpuNorm;
  return group;
}

}  // namespace descent::cpu
