// The op group norm: x is seen as [rows, channels].
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "descent/epilogue.h"

namespace descent {

struct BatchNormState {  // all [channels]; gamma, beta and the running statistics may be empty
  ConstView gamma, beta;
  View running_mean, running_var;  // running = (1 - momentum) running + momentum batch, the variance unbiased
  double momentum = 0.1, eps = 1e-5;
};

class Norm {
 public:
  virtual ~Norm() = default;
  // Uses batch statistics (biased variance, two passes or Welford); saves mean and 1 / sqrt(var + eps) for backward.
  // The epilogue is one of core/fusion.h; if it pools, x is [N, H, W, C], and aux as in Conv::forward.
  virtual void batch_train(const BatchNormState& s, ConstView x, const Epilogue& epilogue, View y, View mean,
                           View inv_std, View aux = {}) = 0;
  virtual void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) = 0;
  // `saved` is aux if the epilogue pools, else y, which is read only for the activation's mask. `training` false: the
  // statistics were constants, and nothing was pooled.
  virtual void batch_backward(bool training, const Epilogue& epilogue, ConstView x, ConstView saved, ConstView dy,
                              ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) = 0;
  virtual void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) = 0;
  virtual void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                              Grad dgamma, Grad dbeta) = 0;
};

}  // namespace descent
