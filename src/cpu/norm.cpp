// Norm on the CPU: sends each primitive to its fast path, or to the plain loops.
#include "cpu/dispatch.h"
#include "cpu/families.h"
#include "cpu/norm_internal.h"

namespace descent::cpu {
namespace {

class CpuNorm final : public Norm {
 public:
  void batch_train(const BatchNormState& s, ConstView x, Activation activation, View y, View mean,
                   View inv_std) override {
    if (reference_only()) return norm_reference()->batch_train(s, x, activation, y, mean, inv_std);
    if (mean.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_train<T>(s, x, activation, y, mean, inv_std); });
  }

  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    if (reference_only()) return norm_reference()->batch_eval(s, x, activation, y);
    if (x.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_eval<T>(s, x, activation, y); });
  }

  void batch_backward(bool training, Activation activation, ConstView x, ConstView y, ConstView dy, ConstView gamma,
                      ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    if (reference_only()) {
      return norm_reference()->batch_backward(training, activation, x, y, dy, gamma, mean, inv_std, dx, dgamma, dbeta);
    }
    if (mean.numel() == 0) return;
    const BatchGradientRequest r{training, gamma, mean, inv_std, dx, dgamma, dbeta};
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_backward<T>(r, activation, x, y, dy); });
  }

  void batch_train_relu_pool(const BatchNormState& s, ConstView x, View y, View code, View mean,
                             View inv_std) override {
    if (reference_only()) return norm_reference()->batch_train_relu_pool(s, x, y, code, mean, inv_std);
    if (mean.numel() == 0) return;
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_train_relu_pool<T>(s, x, y, code, mean, inv_std); });
  }

  void batch_backward_relu_pool(ConstView x, ConstView dy, ConstView code, ConstView gamma, ConstView mean,
                                ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    if (reference_only()) {
      return norm_reference()->batch_backward_relu_pool(x, dy, code, gamma, mean, inv_std, dx, dgamma, dbeta);
    }
    if (mean.numel() == 0) return;
    const BatchGradientRequest r{true, gamma, mean, inv_std, dx, dgamma, dbeta};
    for_floating(x.dtype, [&]<class T>(T) { cpu::batch_backward_relu_pool<T>(r, x, dy, code); });
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

Norm* norm_family() {
  static CpuNorm* const family = new CpuNorm;
  return family;
}

}  // namespace descent::cpu
