// The optimizers' updates over a run of elements, one table per instruction set. The formulas are those of PyTorch's
// single-tensor optimizers, in the same order; scalars that depend on the step are computed once, in f64.
#pragma once

#include <cstdint>

#include "backend.h"
#include "cpu/simd.h"

namespace descent::cpu {

template <class T>
struct SgdScalars {
  T lr, momentum, undamped /* 1 - dampening */, weight_decay;
  bool nesterov, first;  // the first step sets the momentum to the gradient
};
template <class T>
struct RmsPropScalars {
  T lr, alpha, rest /* 1 - alpha */, eps, weight_decay, momentum;
};
template <class T>
struct AdamScalars {
  T step_size /* lr / (1 - beta1^t) */, rest1 /* 1 - beta1 */, beta2, rest2, root_scale /* 1 / sqrt(1 - beta2^t) */,
      eps;
  T weight_decay;  // added to the gradient
  T keep;          // 1 - lr * decay when that is decoupled, else 1
};

template <class T>
SgdScalars<T> sgd_scalars(const Sgd& o, double lr, double step);
template <class T>
RmsPropScalars<T> rmsprop_scalars(const RmsProp& o, double lr);
template <class T>
AdamScalars<T> adam_scalars(const Adam& o, const double* rates);

template <class T>
struct OptimKernels {  // each returns true if a gradient was NaN or infinite; optional buffers may be null
  bool (*sgd)(const SgdScalars<T>& s, std::int64_t n, T* param, const T* grad, T* momentum);
  bool (*rmsprop)(const RmsPropScalars<T>& s, std::int64_t n, T* param, const T* grad, T* square_avg, T* momentum,
                  T* grad_avg);
  bool (*adam)(const AdamScalars<T>& s, std::int64_t n, T* param, const T* grad, T* m, T* v);
};

DESCENT_SIMD_TABLE(OptimKernels<float>, optim_f32)
DESCENT_SIMD_TABLE(OptimKernels<double>, optim_f64)

template <class T>
const OptimKernels<T>& optim_reference();  // plain loops

}  // namespace descent::cpu
