// Optimizer updates: one launch and one pass over flat buffers. Learning rate and step are read from device memory, so
// that a captured step can be replayed.
#pragma once

#include "backend.h"
#include "cuda/kernels/optim_rules.cuh"
#include "cuda/launch.cuh"

namespace descent::gpu {

// The buffers of a rule, the first kStates of them used.
template <class T>
struct OptimStates {
  T* buffer[3];
};

// Updates elements [at, at + N); true if an updated parameter is NaN or infinite, which a gradient that is
// not finite makes it in every rule.
template <int N, class T, class Rule>
__device__ bool update_run(const typename Rule::Scalars& s, std::int64_t at, T* param, const T* grad,
                           const OptimStates<T>& states) {
  constexpr int kStates = Rule::kStates;
  Pack<T, N> p = load_pack<T, N>(param + at), state[kStates + 1];
  const Pack<T, N> g = load_pack<T, N>(grad + at);
  for (int j = 0; j < kStates; ++j) state[j] = load_pack<T, N>(states.buffer[j] + at);
  bool nonfinite = false;
  for (int k = 0; k < N; ++k) {
    T values[kStates + 1];
    for (int j = 0; j < kStates; ++j) values[j] = state[j].v[k];
    p.v[k] = Rule::update(s, p.v[k], g.v[k], values);
    nonfinite = nonfinite || !isfinite(p.v[k]);
    for (int j = 0; j < kStates; ++j) state[j].v[k] = values[j];
  }
  for (int j = 0; j < kStates; ++j) store_pack<T, N>(states.buffer[j] + at, state[j]);
  store_pack<T, N>(param + at, p);
  return nonfinite;
}

// A thread per 16 bytes of each buffer, then per element of the tail; the block's first thread rounds what depends on
// the step to T, as conversions from f64 are slow on most GPUs. Reads and writes parameter and states, reads the
// gradient; arithmetic in T.
template <class T, class Rule>
__global__ void optim_kernel(Rule rule, OptimStep step, std::int64_t n, bool packed, T* param, const T* grad,
                             OptimStates<T> states) {
  constexpr int N = kPack<T>;
  __shared__ typename Rule::Scalars shared;
  if (threadIdx.x == 0) shared = rule.scalars(step);
  __syncthreads();
  const typename Rule::Scalars s = shared;
  const std::int64_t packs = packed ? n / N : 0;
  bool nonfinite = false;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    if (update_run<N, T, Rule>(s, i * N, param, grad, states)) nonfinite = true;
  }
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) {
    if (update_run<1, T, Rule>(s, i, param, grad, states)) nonfinite = true;
  }
  if (nonfinite && step.nonfinite != nullptr) atomicOr(step.nonfinite, 1);
}

// One thread: step += 1.
template <class Real>
__global__ void advance_step_kernel(Real* step) {
  *step += 1;
}

// One thread: advance_step, and Adam's rates, in f64 once for all blocks of the update.
template <class Real>
__global__ void advance_adam_kernel(Adam o, const Real* lr, Real* step, Real* rates) {
  const Real now = *step + 1;
  *step = now;
  rates[0] = *lr / (1 - pow(o.beta1, now));
  rates[1] = 1 / sqrt(1 - pow(o.beta2, now));
  rates[2] = o.decoupled ? 1 - *lr * o.weight_decay : 1;
}

// One thread; NaN stays.
template <class Real>
__global__ void clip_factor_kernel(const Real* sum_of_squares, Real max_norm, Real* factor) {
  const Real ratio = max_norm / (sqrt(*sum_of_squares) + 1e-6);
  *factor = ratio > 1 ? 1 : ratio;
}

template <class T, class Rule>
void optim_update(Queue& q, const char* name, const Rule& rule, const OptimStep& step, std::int64_t n, T* param,
                  const T* grad, const OptimStates<T>& states) {
  const bool packed = aligned16(param, grad, states.buffer[0], states.buffer[1], states.buffer[2]);
  launch(q, name, optim_kernel<T, Rule>, dim3(blocks_for(q, n, packed ? kThreads * kPack<T> : kThreads)),
         dim3(kThreads), 0, rule, step, n, packed, param, grad, states);
}

template <class T>
void sgd(Queue& q, const Sgd& o, const OptimStep& step, std::int64_t n, T* param, const T* grad, T* momentum) {
  if (o.momentum != 0 && momentum != nullptr) {
    return optim_update(q, "sgd", SgdRule<T, true>(o), step, n, param, grad, OptimStates<T>{{momentum}});
  }
  optim_update(q, "sgd", SgdRule<T, false>(o), step, n, param, grad, OptimStates<T>{});
}

template <class T>
void rmsprop(Queue& q, const RmsProp& o, const OptimStep& step, std::int64_t n, T* param, const T* grad, T* square_avg,
             T* momentum, T* grad_avg) {
  const auto update = [&](const auto& rule, const OptimStates<T>& states) {
    optim_update(q, "rmsprop", rule, step, n, param, grad, states);
  };
  const bool with_momentum = o.momentum != 0 && momentum != nullptr, centered = o.centered && grad_avg != nullptr;
  if (with_momentum && centered) return update(RmsPropRule<T, true, true>(o), {{square_avg, momentum, grad_avg}});
  if (with_momentum) return update(RmsPropRule<T, true, false>(o), {{square_avg, momentum}});
  if (centered) return update(RmsPropRule<T, false, true>(o), {{square_avg, grad_avg}});
  update(RmsPropRule<T, false, false>(o), {{square_avg}});
}

template <class T>
void adam(Queue& q, const Adam& o, const OptimStep& step, std::int64_t n, T* param, const T* grad, T* m, T* v) {
  optim_update(q, "adam", AdamRule<T>(o), step, n, param, grad, OptimStates<T>{{m, v}});
}

inline void advance_step(Queue& q, double* step) {
  launch(q, "advance_step", advance_step_kernel<double>, dim3(1), dim3(1), 0, step);
}

inline void advance_adam(Queue& q, const Adam& o, const double* lr, double* step, double* rates) {
  launch(q, "advance_adam", advance_adam_kernel<double>, dim3(1), dim3(1), 0, o, lr, step, rates);
}

inline void clip_factor(Queue& q, const double* sum_of_squares, double max_norm, double* factor) {
  launch(q, "clip_factor", clip_factor_kernel<double>, dim3(1), dim3(1), 0, sum_of_squares, max_norm, factor);
}

}  // namespace descent::gpu
