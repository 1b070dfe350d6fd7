// The optimizers as PyTorch's documentation states them, element by element.
#include <cmath>

#include "cpu/optim_kernels.h"

namespace descent::cpu {
namespace {

template <class T>
bool sgd(const SgdScalars<T>& s, std::int64_t n, T* param, const T* grad, T* momentum) {
  bool nonfinite = false;
  for (std::int64_t i = 0; i < n; ++i) {
    T g = grad[i];
    g += s.weight_decay * param[i];
    if (momentum != nullptr) {
      momentum[i] = s.first ? g : s.momentum * momentum[i] + s.undamped * g;
      g = s.nesterov ? g + s.momentum * momentum[i] : momentum[i];
    }
    param[i] -= s.lr * g;
    nonfinite = nonfinite || !std::isfinite(param[i]);
  }
  return nonfinite;
}

template <class T>
bool rmsprop(const RmsPropScalars<T>& s, std::int64_t n, T* param, const T* grad, T* square_avg, T* momentum,
             T* grad_avg) {
  bool nonfinite = false;
  for (std::int64_t i = 0; i < n; ++i) {
    T g = grad[i];
    g += s.weight_decay * param[i];
    square_avg[i] = s.alpha * square_avg[i] + s.rest * g * g;
    T variance = square_avg[i];
    if (grad_avg != nullptr) {
      grad_avg[i] += s.rest * (g - grad_avg[i]);
      variance -= grad_avg[i] * grad_avg[i];
      if (variance < 0) variance = 0;  // rounding, when the gradient hardly changes; NaN stays
    }
    const T root = std::sqrt(variance) + s.eps;
    if (momentum != nullptr) {
      momentum[i] = s.momentum * momentum[i] + g / root;
      param[i] -= s.lr * momentum[i];
    } else {
      param[i] -= s.lr * g / root;
    }
    nonfinite = nonfinite || !std::isfinite(param[i]);
  }
  return nonfinite;
}

template <class T>
bool adam(const AdamScalars<T>& s, std::int64_t n, T* param, const T* grad, T* m, T* v) {
  bool nonfinite = false;
  for (std::int64_t i = 0; i < n; ++i) {
    T g = grad[i];
    g += s.weight_decay * param[i];
    m[i] += s.rest1 * (g - m[i]);
    v[i] = s.beta2 * v[i] + s.rest2 * g * g;
    const T root = std::sqrt(v[i]) * s.root_scale + s.eps;
    param[i] = s.keep * param[i] - s.step_size * m[i] / root;
    nonfinite = nonfinite || !std::isfinite(param[i]);
  }
  return nonfinite;
}

template <class T>
constexpr OptimKernels<T> kPlain{sgd<T>, rmsprop<T>, adam<T>};

}  // namespace

template <class T>
const OptimKernels<T>& optim_reference() {
  return kPlain<T>;
}

template const OptimKernels<float>& optim_reference();
template const OptimKernels<double>& optim_reference();

}  // namespace descent::cpu
