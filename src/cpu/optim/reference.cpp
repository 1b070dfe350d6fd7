// Reference implementation of the optimizers, as PyTorch's documentation states them, element by element.
#include <cmath>
#include <type_traits>

#include "cpu/optim/kernels.h"

namespace descent::cpu {
namespace {

template <class T>
struct Buffers {
  std::int64_t n;
  T* param;
  const T* grad;
  T* const* states;
};

template <class T>
void run(const Sgd& o, double lr, double step, const Buffers<T>& b) {
  const T rate = static_cast<T>(lr), mu = static_cast<T>(o.momentum), tau = static_cast<T>(1 - o.dampening);
  T* const momentum = o.momentum != 0 ? b.states[0] : nullptr;
  for (std::int64_t i = 0; i < b.n; ++i) {
    T g = b.grad[i] + static_cast<T>(o.weight_decay) * b.param[i];
    if (momentum != nullptr) {
      momentum[i] = step == 1 ? g : mu * momentum[i] + tau * g;
      g = o.nesterov ? g + mu * momentum[i] : momentum[i];
    }
    b.param[i] -= rate * g;
  }
}

template <class T>
void run(const RmsProp& o, double lr, double, const Buffers<T>& b) {
  const T rate = static_cast<T>(lr), alpha = static_cast<T>(o.alpha), rest = static_cast<T>(1 - o.alpha);
  T *const square_avg = b.states[0], *const momentum = o.momentum != 0 ? b.states[1] : nullptr;
  T* const grad_avg = o.centered ? b.states[o.momentum != 0 ? 2 : 1] : nullptr;
  for (std::int64_t i = 0; i < b.n; ++i) {
    const T g = b.grad[i] + static_cast<T>(o.weight_decay) * b.param[i];
    square_avg[i] = alpha * square_avg[i] + rest * g * g;
    T variance = square_avg[i];
    if (grad_avg != nullptr) {
      grad_avg[i] += rest * (g - grad_avg[i]);
      variance -= grad_avg[i] * grad_avg[i];
      if (variance < 0) variance = 0;  // can be negative by rounding; NaN stays
    }
    const T root = std::sqrt(variance) + static_cast<T>(o.eps);
    if (momentum != nullptr) {
      momentum[i] = static_cast<T>(o.momentum) * momentum[i] + g / root;
      b.param[i] -= rate * momentum[i];
    } else {
      b.param[i] -= rate * g / root;
    }
  }
}

template <class T>
void run(const Adam& o, double lr, double step, const Buffers<T>& b) {
  const T correction = static_cast<T>(lr / (1 - std::pow(o.beta1, step)));
  const T root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(o.beta2, step)));
  T *const m = b.states[0], *const v = b.states[1];
  for (std::int64_t i = 0; i < b.n; ++i) {
    T g = b.grad[i];
    if (o.decoupled) {
      b.param[i] *= static_cast<T>(1 - lr * o.weight_decay);
    } else {
      g += static_cast<T>(o.weight_decay) * b.param[i];
    }
    m[i] += static_cast<T>(1 - o.beta1) * (g - m[i]);
    v[i] = static_cast<T>(o.beta2) * v[i] + static_cast<T>(1 - o.beta2) * g * g;
    b.param[i] -= correction * m[i] / (std::sqrt(v[i]) * root_scale + static_cast<T>(o.eps));
  }
}

template <class T>
void run(const Adadelta& o, double lr, double, const Buffers<T>& b) {
  const T rho = static_cast<T>(o.rho), rest = static_cast<T>(1 - o.rho), eps = static_cast<T>(o.eps);
  T *const square_avg = b.states[0], *const acc_delta = b.states[1];
  for (std::int64_t i = 0; i < b.n; ++i) {
    const T g = b.grad[i] + static_cast<T>(o.weight_decay) * b.param[i];
    square_avg[i] = square_avg[i] * rho + rest * g * g;
    const T delta = std::sqrt(acc_delta[i] + eps) / std::sqrt(square_avg[i] + eps) * g;
    acc_delta[i] = acc_delta[i] * rho + rest * delta * delta;
    b.param[i] -= static_cast<T>(lr) * delta;
  }
}

}  // namespace

template <class T>
bool optim_reference(const OptimRule& rule, double lr, double step, std::int64_t n, T* param, const T* grad,
                     T* const* states) {
  std::visit([&](const auto& o) { run(o, lr, step, Buffers<T>{n, param, grad, states}); }, rule);
  bool nonfinite = false;
  for (std::int64_t i = 0; i < n; ++i) nonfinite = nonfinite || !std::isfinite(param[i]);
  return nonfinite;
}

template bool optim_reference(const OptimRule&, double, double, std::int64_t, float*, const float*, float* const*);
template bool optim_reference(const OptimRule&, double, double, std::int64_t, double*, const double*, double* const*);

}  // namespace descent::cpu
