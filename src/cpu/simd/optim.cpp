// Optimizer updates, one pass over parameter, gradient and state. A number times 0 is 0 unless it is NaN or infinite:
// the sum of these products over the updated parameters finds what is not finite at the cost of one multiply-add per
// vector. A gradient that is not finite makes its parameter so, in every one of these rules.
#include "cpu/optim_kernels.h"
#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

// Four streams at once are more than the hardware's prefetcher follows well: half a KiB ahead gains a tenth.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* a, const T* b, const T* c, const T* d) {
  constexpr std::int64_t kAhead = 512 / sizeof(T);
  __builtin_prefetch(a + kAhead);
  __builtin_prefetch(b + kAhead);
  __builtin_prefetch(c + kAhead);
  __builtin_prefetch(d + kAhead);
}

template <class T, bool kMomentum, bool kNesterov>
bool sgd_loop(const SgdScalars<T>& s, std::int64_t n, T* param, const T* grad, T* momentum) {
  const Vec<T> lr = broadcast(s.lr), keep = broadcast(s.momentum), undamped = broadcast(s.undamped);
  const Vec<T> decay = broadcast(s.weight_decay);
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    const Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    g += decay * p;
    if constexpr (kMomentum) {
      Vec<T> b = g;
      if (!s.first) b = keep * load_some<T, kWhole>(momentum + i, count) + undamped * g;
      store_some<T, kWhole>(momentum + i, b, count);
      g = kNesterov ? g + keep * b : b;
    }
    const Vec<T> updated = p - lr * g;
    zeros += updated * broadcast(T{0});
    store_some<T, kWhole>(param + i, updated, count);
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
  const Vec<T> lr = broadcast(s.lr), alpha = broadcast(s.alpha), rest = broadcast(s.rest), eps = broadcast(s.eps);
  const Vec<T> decay = broadcast(s.weight_decay), keep = broadcast(s.momentum);
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    g += decay * p;
    Vec<T> square = alpha * load_some<T, kWhole>(square_avg + i, count) + rest * g * g;
    store_some<T, kWhole>(square_avg + i, square, count);
    if constexpr (kCentered) {
      Vec<T> mean = load_some<T, kWhole>(grad_avg + i, count);
      mean += rest * (g - mean);
      store_some<T, kWhole>(grad_avg + i, mean, count);
      square -= mean * mean;
      square = square < Vec<T>{} ? Vec<T>{} : square;  // rounding, when the gradient hardly changes; NaN stays
    }
    const Vec<T> root = square_root(square) + eps;
    if constexpr (kMomentum) {
      const Vec<T> b = keep * load_some<T, kWhole>(momentum + i, count) + g / root;
      store_some<T, kWhole>(momentum + i, b, count);
      p -= lr * b;
    } else {
      p -= lr * g / root;
    }
    zeros += p * broadcast(T{0});
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
  const Vec<T> step = broadcast(s.step_size), rest1 = broadcast(s.rest1), beta2 = broadcast(s.beta2);
  const Vec<T> rest2 = broadcast(s.rest2), scale = broadcast(s.root_scale), eps = broadcast(s.eps);
  const Vec<T> decay = broadcast(s.weight_decay), keep = broadcast(s.keep);
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    prefetch<T>(param + i, grad + i, m + i, v + i);
    const Vec<T> p = load_some<T, kWhole>(param + i, count);
    Vec<T> g = load_some<T, kWhole>(grad + i, count);
    g += decay * p;
    Vec<T> mean = load_some<T, kWhole>(m + i, count);
    mean += rest1 * (g - mean);
    const Vec<T> square = beta2 * load_some<T, kWhole>(v + i, count) + rest2 * g * g;
    store_some<T, kWhole>(m + i, mean, count);
    store_some<T, kWhole>(v + i, square, count);
    const Vec<T> root = square_root(square) * scale + eps;
    const Vec<T> updated = p * keep - step * mean / root;
    zeros += updated * broadcast(T{0});
    store_some<T, kWhole>(param + i, updated, count);
  });
  return any_nonzero<T>(zeros);
}

}  // namespace

extern constexpr OptimKernels<float> optim_f32{sgd<float>, rmsprop<float>, adam<float>};
extern constexpr OptimKernels<double> optim_f64{sgd<double>, rmsprop<double>, adam<double>};

}  // namespace descent::cpu::DESCENT_SIMD
