// The optimizers' update rules, written once for every fast path: PyTorch's formulas in PyTorch's order of operations.
// A formula is computed on V: one element of type T, or a SIMD vector of them. The CPU's reference implementation
// (src/cpu/optim/reference.cpp) states each rule a second time, independently.
//
// A rule is a struct of options; for_update() turns it into the type of its update, in which the options that change
// the number of state buffers are constants:
//   kStates              state buffers besides parameter and gradient, in the order in which the optimizer adds them
//   Scalars<T>           what is the same for every element of a step
//   constants<T>(rule)   the scalars that do not depend on the step
//   at_step(s, c)        adds those that do, from the step's coefficients c, f64 [kStepCoefficients]
//   apply(s, sqrt, ...)  the updated parameter; changes the state values. sqrt(v) is the square root of a V.
// step_coefficients() computes what depends on the step, once a step and in f64.
#pragma once

#include <cmath>
#include <tuple>
#include <variant>

#include "core/host_device.h"

namespace descent {

inline constexpr int kStepCoefficients = 3;

// ---- SGD; Nesterov momentum: Sutskever et al., 2013
// ------------------------------------------------------------------
struct Sgd {
  static constexpr const char* kName = "sgd";
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};

// State: the momentum.
template <bool kMomentum>
struct SgdUpdate {
  using Rule = Sgd;
  static constexpr int kStates = kMomentum ? 1 : 0;
  template <class T>
  struct Scalars {
    T lr, momentum, one_minus_dampening, weight_decay;
    bool nesterov, first;  // the first step sets the momentum to the gradient
  };

  template <class T>
  static Scalars<T> constants(const Sgd& o) {
    return {
        T(0), static_cast<T>(o.momentum), static_cast<T>(1 - o.dampening), static_cast<T>(o.weight_decay), o.nesterov,
        false};
  }
  template <class T>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static void at_step(Scalars<T>& s, const double* c) {
    s.lr = static_cast<T>(c[0]);
    s.first = c[1] != 0;
  }
  template <class T, class V, class Sqrt>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static V apply(const Scalars<T>& s, const Sqrt&, V param, V grad,
                                                           V* state) {
    grad += s.weight_decay * param;
    if constexpr (kMomentum) {
      state[0] = s.first ? grad : s.momentum * state[0] + s.one_minus_dampening * grad;
      grad = s.nesterov ? grad + s.momentum * state[0] : state[0];
    }
    return param - s.lr * grad;
  }
};

DESCENT_HOST_DEVICE inline void step_coefficients(const Sgd&, double lr, double step, double* c) {
  c[0] = lr;
  c[1] = step == 1 ? 1 : 0;
  c[2] = 0;
}

template <class F>
void for_update(const Sgd& o, const F& f) {
  if (o.momentum != 0) return f(SgdUpdate<true>());
  f(SgdUpdate<false>());
}

// ---- RMSProp; Tieleman and Hinton, 2012; centered: Graves, 2013
// -------------------------------------------------------
struct RmsProp {
  static constexpr const char* kName = "rmsprop";
  double alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;
};

// States: the average of squared gradients, then momentum and the average of gradients if they are used.
template <bool kMomentum, bool kCentered>
struct RmsPropUpdate {
  using Rule = RmsProp;
  static constexpr int kStates = 1 + (kMomentum ? 1 : 0) + (kCentered ? 1 : 0);
  template <class T>
  struct Scalars {
    T lr, alpha, one_minus_alpha, eps, weight_decay, momentum;
  };

  template <class T>
  static Scalars<T> constants(const RmsProp& o) {
    return {T(0),
            static_cast<T>(o.alpha),
            static_cast<T>(1 - o.alpha),
            static_cast<T>(o.eps),
            static_cast<T>(o.weight_decay),
            static_cast<T>(o.momentum)};
  }
  template <class T>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static void at_step(Scalars<T>& s, const double* c) {
    s.lr = static_cast<T>(c[0]);
  }
  template <class T, class V, class Sqrt>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static V apply(const Scalars<T>& s, const Sqrt& sqrt, V param, V grad,
                                                           V* state) {
    grad += s.weight_decay * param;
    state[0] = s.alpha * state[0] + s.one_minus_alpha * grad * grad;
    V variance = state[0];
    if constexpr (kCentered) {
      V& mean = state[kStates - 1];
      mean += s.one_minus_alpha * (grad - mean);
      variance -= mean * mean;
      variance = variance < V{} ? V{} : variance;  // can be negative by rounding; NaN stays
    }
    const V root = sqrt(variance) + s.eps;
    if constexpr (kMomentum) {
      state[1] = s.momentum * state[1] + grad / root;
      return param - s.lr * state[1];
    } else {
      return param - s.lr * grad / root;
    }
  }
};

DESCENT_HOST_DEVICE inline void step_coefficients(const RmsProp&, double lr, double, double* c) {
  c[0] = lr;
  c[1] = c[2] = 0;
}

template <class F>
void for_update(const RmsProp& o, const F& f) {
  if (o.momentum != 0) return o.centered ? f(RmsPropUpdate<true, true>()) : f(RmsPropUpdate<true, false>());
  return o.centered ? f(RmsPropUpdate<false, true>()) : f(RmsPropUpdate<false, false>());
}

// ---- Adam; Kingma and Ba, 2015; AdamW: Loshchilov and Hutter, 2019
// ----------------------------------------------------
struct Adam {
  static constexpr const char* kName = "adam";
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  // AdamW
};

// States: the averages of gradients and of their squares.
struct AdamUpdate {
  using Rule = Adam;
  static constexpr int kStates = 2;
  template <class T>
  struct Scalars {
    T step_size /* lr / (1 - beta1^t) */, one_minus_beta1, beta2, one_minus_beta2,
        root_scale /* 1 / sqrt(1 - beta2^t) */, eps;
    T weight_decay;  // added to the gradient
    T decay_factor;  // 1 - lr * weight_decay if that is decoupled, else 1
  };

  template <class T>
  static Scalars<T> constants(const Adam& o) {
    return {T(0),
            static_cast<T>(1 - o.beta1),
            static_cast<T>(o.beta2),
            static_cast<T>(1 - o.beta2),
            T(0),
            static_cast<T>(o.eps),
            static_cast<T>(o.decoupled ? 0 : o.weight_decay),
            T(1)};
  }
  template <class T>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static void at_step(Scalars<T>& s, const double* c) {
    s.step_size = static_cast<T>(c[0]);
    s.root_scale = static_cast<T>(c[1]);
    s.decay_factor = static_cast<T>(c[2]);
  }
  template <class T, class V, class Sqrt>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static V apply(const Scalars<T>& s, const Sqrt& sqrt, V param, V grad,
                                                           V* state) {
    grad += s.weight_decay * param;
    V &mean = state[0], &square = state[1];
    mean += s.one_minus_beta1 * (grad - mean);
    square = s.beta2 * square + s.one_minus_beta2 * grad * grad;
    const V root = sqrt(square) * s.root_scale + s.eps;
    return param * s.decay_factor - s.step_size * mean / root;
  }
};

DESCENT_HOST_DEVICE inline void step_coefficients(const Adam& o, double lr, double step, double* c) {
  c[0] = lr / (1 - std::pow(o.beta1, step));
  c[1] = 1 / std::sqrt(1 - std::pow(o.beta2, step));
  c[2] = o.decoupled ? 1 - lr * o.weight_decay : 1;
}

template <class F>
void for_update(const Adam&, const F& f) {
  f(AdamUpdate());
}

// ---- Adadelta; Zeiler, 2012
// -------------------------------------------------------------------------------------------
struct Adadelta {
  static constexpr const char* kName = "adadelta";
  double rho = 0.9, eps = 1e-6, weight_decay = 0;
};

// States: the averages of squared gradients and of squared changes.
struct AdadeltaUpdate {
  using Rule = Adadelta;
  static constexpr int kStates = 2;
  template <class T>
  struct Scalars {
    T lr, rho, one_minus_rho, eps, weight_decay;
  };

  template <class T>
  static Scalars<T> constants(const Adadelta& o) {
    return {T(0), static_cast<T>(o.rho), static_cast<T>(1 - o.rho), static_cast<T>(o.eps),
            static_cast<T>(o.weight_decay)};
  }
  template <class T>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static void at_step(Scalars<T>& s, const double* c) {
    s.lr = static_cast<T>(c[0]);
  }
  template <class T, class V, class Sqrt>
  DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static V apply(const Scalars<T>& s, const Sqrt& sqrt, V param, V grad,
                                                           V* state) {
    grad += s.weight_decay * param;
    V &square = state[0], &change = state[1];
    square = s.rho * square + s.one_minus_rho * grad * grad;
    const V delta = sqrt(change + s.eps) / sqrt(square + s.eps) * grad;
    change = s.rho * change + s.one_minus_rho * delta * delta;
    return param - s.lr * delta;
  }
};

DESCENT_HOST_DEVICE inline void step_coefficients(const Adadelta&, double lr, double, double* c) {
  c[0] = lr;
  c[1] = c[2] = 0;
}

template <class F>
void for_update(const Adadelta&, const F& f) {
  f(AdadeltaUpdate());
}

// ---------------------------------------------------------------------------------------------------------------------
using OptimRule = std::variant<Sgd, RmsProp, Adam, Adadelta>;
// What for_update() chooses from; every fast path is instantiated for each of these.
using OptimUpdates =
    std::tuple<SgdUpdate<false>, SgdUpdate<true>, RmsPropUpdate<false, false>, RmsPropUpdate<false, true>,
               RmsPropUpdate<true, false>, RmsPropUpdate<true, true>, AdamUpdate, AdadeltaUpdate>;

}  // namespace descent
