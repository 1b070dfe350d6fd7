// The optimizers' formulas, PyTorch's, in its order: what depends on the step is computed in f64 from device memory,
// then each element in T. A rule has kStates buffers beside parameter and gradient, whose values update() changes.
#pragma once

#include "backend.h"
#include "cuda/launch.cuh"

namespace descent::gpu {

template <class T, bool kMomentum>
struct SgdRule {
  static constexpr int kStates = kMomentum ? 1 : 0;
  struct Scalars {
    T lr, momentum, undamped, weight_decay;
    bool nesterov, first;  // the first step sets the momentum to the gradient
  };
  Sgd options;

  __device__ Scalars scalars(double lr, double step) const {
    return {static_cast<T>(lr),
            static_cast<T>(options.momentum),
            static_cast<T>(1 - options.dampening),
            static_cast<T>(options.weight_decay),
            options.nesterov,
            step == 1};
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
  RmsProp options;

  __device__ Scalars scalars(double lr, double) const {
    return {static_cast<T>(lr),          static_cast<T>(options.alpha),        static_cast<T>(1 - options.alpha),
            static_cast<T>(options.eps), static_cast<T>(options.weight_decay), static_cast<T>(options.momentum)};
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
  Adam options;

  __device__ Scalars scalars(double lr, double step) const {
    const double correction1 = 1 - pow(options.beta1, step), correction2 = 1 - pow(options.beta2, step);
    return {static_cast<T>(lr / correction1),
            static_cast<T>(1 - options.beta1),
            static_cast<T>(options.beta2),
            static_cast<T>(1 - options.beta2),
            static_cast<T>(1 / sqrt(correction2)),
            static_cast<T>(options.eps),
            static_cast<T>(options.decoupled ? 0 : options.weight_decay),
            static_cast<T>(options.decoupled ? 1 - lr * options.weight_decay : 1)};
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
