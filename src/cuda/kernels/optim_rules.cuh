// The optimizers' formulas, PyTorch's, in its order, each element in T. A rule is made on the host, with what does not
// depend on the step already rounded to T; scalars() adds the rest from device memory. It has kStates buffers beside
// parameter and gradient, whose values update() changes.
#pragma once

#include "backend.h"
#include "cuda/launch.cuh"

namespace descent::gpu {

struct OptimStep {  // of StepState
  const double *lr, *step;
  std::int32_t* nonfinite;  // or null
  const double* rates;      // of Adam alone
};

template <class T, bool kMomentum>
struct SgdRule {
  static constexpr int kStates = kMomentum ? 1 : 0;
  struct Scalars {
    T lr, momentum, undamped, weight_decay;
    bool nesterov, first;  // the first step sets the momentum to the gradient
  };
  Scalars fixed;

  explicit SgdRule(const Sgd& o)
      : fixed{T(0),
              static_cast<T>(o.momentum),
              static_cast<T>(1 - o.dampening),
              static_cast<T>(o.weight_decay),
              o.nesterov,
              false} {}
  __device__ Scalars scalars(const OptimStep& step) const {
    Scalars s = fixed;
    s.lr = static_cast<T>(*step.lr);
    s.first = *step.step == 1;
    return s;
  }
  __device__ static T update(const Scalars& s, T param, T gradient, T* state) {
    gradient += s.weight_decay * param;
    if constexpr (kMomentum) {
      state[0] = s.first ? gradient : s.momentum * state[0] + s.undamped * gradient;
      gradient = s.nesterov ? gradient + s.momentum * state[0] : state[0];
    }
    return param - s.lr * gradient;
  }
};

// States: the average of squares, then the momentum and the average of gradients where there are any.
template <class T, bool kMomentum, bool kCentered>
struct RmsPropRule {
  static constexpr int kStates = 1 + (kMomentum ? 1 : 0) + (kCentered ? 1 : 0);
  struct Scalars {
    T lr, alpha, rest /* 1 - alpha */, eps, weight_decay, momentum;
  };
  Scalars fixed;

  explicit RmsPropRule(const RmsProp& o)
      : fixed{T(0),
              static_cast<T>(o.alpha),
              static_cast<T>(1 - o.alpha),
              static_cast<T>(o.eps),
              static_cast<T>(o.weight_decay),
              static_cast<T>(o.momentum)} {}
  __device__ Scalars scalars(const OptimStep& step) const {
    Scalars s = fixed;
    s.lr = static_cast<T>(*step.lr);
    return s;
  }
  __device__ static T update(const Scalars& s, T param, T gradient, T* state) {
    gradient += s.weight_decay * param;
    state[0] = s.alpha * state[0] + s.rest * gradient * gradient;
    T variance = state[0];
    if constexpr (kCentered) {
      T& mean = state[kStates - 1];
      mean += s.rest * (gradient - mean);
      variance -= mean * mean;
      if (variance < 0) variance = 0;  // rounding, when the gradient hardly changes; NaN stays
    }
    const T root = sqrt(variance) + s.eps;
    if constexpr (kMomentum) {
      state[1] = s.momentum * state[1] + gradient / root;
      return param - s.lr * state[1];
    } else {
      return param - s.lr * gradient / root;
    }
  }
};

// States: the averages of gradients and of their squares.
template <class T>
struct AdamRule {
  static constexpr int kStates = 2;
  struct Scalars {
    T step_size /* lr / (1 - beta1^t) */, rest1 /* 1 - beta1 */, beta2, rest2, root_scale /* 1 / sqrt(1 - beta2^t) */,
        eps;
    T weight_decay;  // added to the gradient
    T keep;          // 1 - lr * decay when that is decoupled, else 1
  };
  Scalars fixed;

  explicit AdamRule(const Adam& o)
      : fixed{T(0),
              static_cast<T>(1 - o.beta1),
              static_cast<T>(o.beta2),
              static_cast<T>(1 - o.beta2),
              T(0),
              static_cast<T>(o.eps),
              static_cast<T>(o.decoupled ? 0 : o.weight_decay),
              T(1)} {}
  __device__ Scalars scalars(const OptimStep& step) const {
    Scalars s = fixed;
    s.step_size = static_cast<T>(step.rates[0]);
    s.root_scale = static_cast<T>(step.rates[1]);
    s.keep = static_cast<T>(step.rates[2]);
    return s;
  }
  __device__ static T update(const Scalars& s, T param, T gradient, T* state) {
    gradient += s.weight_decay * param;
    T &mean = state[0], &square = state[1];
    mean += s.rest1 * (gradient - mean);
    square = s.beta2 * square + s.rest2 * gradient * gradient;
    const T root = sqrt(square) * s.root_scale + s.eps;
    return s.keep * param - s.step_size * mean / root;
  }
};

}  // namespace descent::gpu
