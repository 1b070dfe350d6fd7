// Optimizer updates, one pass over parameter, gradient and state. A gradient times 0 is 0 unless it is NaN or infinite:
// the sum of these products finds such gradients at the cost of one multiply-add per vector.
#include "cpu/optim_kernels.h"
#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T, bool kMomentum, bool kNesterov>
bool sgd_loop(const SgdScalars<T>& s, std::int64_t n, T* param, const T* grad, T* momentum) {
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    const Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    zeros += g * broadcast(T{0});
    g += broadcast(s.weight_decay) * p;
    if constexpr (kMomentum) {
      Vec<T> b = g;
      if (!s.first) b = broadcast(s.momentum) * load_some<T, kWhole>(momentum + i, count) + broadcast(s.undamped) * g;
      store_some<T, kWhole>(momentum + i, b, count);
      g = kNesterov ? g + broadcast(s.momentum) * b : b;
    }
    store_some<T, kWhole>(param + i, p - broadcast(s.lr) * g, count);
  });
  return any_nonzero<T>(zeros);
}

template <class T>
bool sgd(const SgdScalars<T>& s, std::int64_t n, T* param, const T* grad, T* momentum) {
  if (momentum == nullptr) return sgd_loop<T, false, false>(s, n, param, grad, momentum);
  return s.nesterov ? sgd_loop<T, true, true>(s, n, param, grad, momentum)
                    : sgd_loop<T, true, false>(s, n, param, grad, momentum);
}

template <class T, bool kMomentum, bool kCentered>
bool rmsprop_loop(const RmsPropScalars<T>& s, std::int64_t n, T* param, const T* grad, T* square_avg, T* momentum,
                  T* grad_avg) {
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    zeros += g * broadcast(T{0});
    g += broadcast(s.weight_decay) * p;
    Vec<T> square = broadcast(s.alpha) * load_some<T, kWhole>(square_avg + i, count) + broadcast(s.rest) * g * g;
    store_some<T, kWhole>(square_avg + i, square, count);
    if constexpr (kCentered) {
      Vec<T> mean = load_some<T, kWhole>(grad_avg + i, count);
      mean += broadcast(s.rest) * (g - mean);
      store_some<T, kWhole>(grad_avg + i, mean, count);
      square -= mean * mean;
    }
    const Vec<T> root = square_root(square) + broadcast(s.eps);
    if constexpr (kMomentum) {
      const Vec<T> b = broadcast(s.momentum) * load_some<T, kWhole>(momentum + i, count) + g / root;
      store_some<T, kWhole>(momentum + i, b, count);
      p -= broadcast(s.lr) * b;
    } else {
      p -= broadcast(s.lr) * g / root;
    }
    store_some<T, kWhole>(param + i, p, count);
  });
  return any_nonzero<T>(zeros);
}

template <class T>
bool rmsprop(const RmsPropScalars<T>& s, std::int64_t n, T* param, const T* grad, T* square_avg, T* momentum,
             T* grad_avg) {
  if (momentum != nullptr) {
    return grad_avg != nullptr ? rmsprop_loop<T, true, true>(s, n, param, grad, square_avg, momentum, grad_avg)
                               : rmsprop_loop<T, true, false>(s, n, param, grad, square_avg, momentum, grad_avg);
  }
  return grad_avg != nullptr ? rmsprop_loop<T, false, true>(s, n, param, grad, square_avg, momentum, grad_avg)
                             : rmsprop_loop<T, false, false>(s, n, param, grad, square_avg, momentum, grad_avg);
}

template <class T>
bool adam(const AdamScalars<T>& s, std::int64_t n, T* param, const T* grad, T* m, T* v) {
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    const Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    zeros += g * broadcast(T{0});
    g += broadcast(s.weight_decay) * p;
    Vec<T> mean = load_some<T, kWhole>(m + i, count);
    mean += broadcast(s.rest1) * (g - mean);
    const Vec<T> square = broadcast(s.beta2) * load_some<T, kWhole>(v + i, count) + broadcast(s.rest2) * g * g;
    store_some<T, kWhole>(m + i, mean, count);
    store_some<T, kWhole>(v + i, square, count);
    const Vec<T> root = square_root(square) * broadcast(s.root_scale) + broadcast(s.eps);
    store_some<T, kWhole>(param + i, p * broadcast(s.keep) - broadcast(s.step_size) * mean / root, count);
  });
  return any_nonzero<T>(zeros);
}

}  // namespace

extern constexpr OptimKernels<float> optim_f32{sgd<float>, rmsprop<float>, adam<float>};
extern constexpr OptimKernels<double> optim_f64{sgd<double>, rmsprop<double>, adam<double>};

}  // namespace descent::cpu::DESCENT_SIMD
