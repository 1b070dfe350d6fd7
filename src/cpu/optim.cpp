// Optim on the CPU: scalars of the step, then one pass over fixed pieces of the flat buffers.
#include <atomic>
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/families.h"
#include "cpu/optim_kernels.h"
#include "cpu/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 16384;  // elements of a task: 10 microseconds

template <class T>
const OptimKernels<T>& kernels() {
  if (reference_only()) return optim_reference<T>();
  if constexpr (sizeof(T) == sizeof(float)) {
    return optim_f32();
  } else {
    return optim_f64();
  }
}

double scalar(ConstView v) { return *v.as<double>(); }

// update(begin, count) returns true when it met a gradient that is not finite.
template <class F>
void for_pieces(std::int64_t n, View nonfinite, const F& update) {
  parallel_pieces(n, kPiece, [&](std::int64_t begin, std::int64_t end) {
    if (update(begin, end - begin) && nonfinite) {
      std::atomic_ref<std::int32_t>(*nonfinite.as<std::int32_t>()).store(1, std::memory_order_relaxed);
    }
  });
}

template <class T>
T* at(View v, std::int64_t i) {
  return v ? v.as<T>() + i : nullptr;
}

class CpuOptim final : public Optim {
 public:
  void sgd(const Sgd& o, const StepState& s, View param, ConstView grad, View momentum) override {
    for_floating(param.dtype, [&]<class T>(T) {
      const auto scalars = sgd_scalars<T>(o, scalar(s.lr), scalar(s.step));
      const View used = o.momentum != 0 ? momentum : View();
      for_pieces(param.numel(), s.nonfinite, [&](std::int64_t i, std::int64_t n) {
        return kernels<T>().sgd(scalars, n, param.as<T>() + i, grad.as<T>() + i, at<T>(used, i));
      });
    });
  }

  void rmsprop(const RmsProp& o, const StepState& s, View param, ConstView grad, View square_avg, View momentum,
               View grad_avg) override {
    for_floating(param.dtype, [&]<class T>(T) {
      const auto scalars = rmsprop_scalars<T>(o, scalar(s.lr));
      const View used_momentum = o.momentum != 0 ? momentum : View(), used_average = o.centered ? grad_avg : View();
      for_pieces(param.numel(), s.nonfinite, [&](std::int64_t i, std::int64_t n) {
        return kernels<T>().rmsprop(scalars, n, param.as<T>() + i, grad.as<T>() + i, square_avg.as<T>() + i,
                                    at<T>(used_momentum, i), at<T>(used_average, i));
      });
    });
  }

  void adam(const Adam& o, const StepState& s, View param, ConstView grad, View m, View v) override {
    for_floating(param.dtype, [&]<class T>(T) {
      const auto scalars = adam_scalars<T>(o, s.rates.as<double>());
      for_pieces(param.numel(), s.nonfinite, [&](std::int64_t i, std::int64_t n) {
        return kernels<T>().adam(scalars, n, param.as<T>() + i, grad.as<T>() + i, m.as<T>() + i, v.as<T>() + i);
      });
    });
  }

  void advance(View step) override { *step.as<double>() += 1; }

  void advance_adam(const Adam& o, ConstView lr, View step, View rates) override {
    const double now = *step.as<double>() += 1;
    double* const to = rates.as<double>();
    to[0] = scalar(lr) / (1 - std::pow(o.beta1, now));
    to[1] = 1 / std::sqrt(1 - std::pow(o.beta2, now));
    to[2] = o.decoupled ? 1 - scalar(lr) * o.weight_decay : 1;
  }

  void clip_factor(ConstView sum_of_squares, double max_norm, View factor) override {
    const double ratio = max_norm / (std::sqrt(scalar(sum_of_squares)) + 1e-6);
    *factor.as<double>() = ratio > 1 ? 1 : ratio;  // NaN stays
  }
};

}  // namespace

template <class T>
SgdScalars<T> sgd_scalars(const Sgd& o, double lr, double step) {
  return {static_cast<T>(lr),
          static_cast<T>(o.momentum),
          static_cast<T>(1 - o.dampening),
          static_cast<T>(o.weight_decay),
          o.nesterov,
          step == 1};
}

template <class T>
RmsPropScalars<T> rmsprop_scalars(const RmsProp& o, double lr) {
  return {static_cast<T>(lr),    static_cast<T>(o.alpha),        static_cast<T>(1 - o.alpha),
          static_cast<T>(o.eps), static_cast<T>(o.weight_decay), static_cast<T>(o.momentum)};
}

template <class T>
AdamScalars<T> adam_scalars(const Adam& o, const double* rates) {
  return {static_cast<T>(rates[0]),
          static_cast<T>(1 - o.beta1),
          static_cast<T>(o.beta2),
          static_cast<T>(1 - o.beta2),
          static_cast<T>(rates[1]),
          static_cast<T>(o.eps),
          static_cast<T>(o.decoupled ? 0 : o.weight_decay),
          static_cast<T>(rates[2])};
}

template SgdScalars<float> sgd_scalars(const Sgd&, double, double);
template SgdScalars<double> sgd_scalars(const Sgd&, double, double);
template RmsPropScalars<float> rmsprop_scalars(const RmsProp&, double);
template RmsPropScalars<double> rmsprop_scalars(const RmsProp&, double);
template AdamScalars<float> adam_scalars(const Adam&, const double*);
template AdamScalars<double> adam_scalars(const Adam&, const double*);

Optim* optim_family() {
  static CpuOptim* const family = new CpuOptim;
  return family;
}

}  // namespace descent::cpu
