// Optimizer updates: one launch and one pass over flat buffers, by the rules of core/optimizer_rules.h. What depends on
// the step is read from device memory, so that a captured step can be replayed.
#pragma once

#include "backend/optim.h"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

constexpr int kMostStates = 4;

// A rule's state buffers; it uses the first kStates.
template <class T>
struct OptimStates {
  T* buffer[kMostStates];
};

template <class T>
struct SquareRoot {
  __device__ T operator()(T x) const { return sqrt(x); }
};

// Updates elements [at, at + N). Returns whether an updated parameter is NaN or infinite, which follows from a
// non-finite gradient in every rule.
template <int N, class T, class Update>
__device__ bool update_run(const typename Update::template Scalars<T>& s, std::int64_t at, T* param, const T* grad,
                           const OptimStates<T>& states) {
  constexpr int kStates = Update::kStates;
  Pack<T, N> p = load_pack<T, N>(param + at), state[kStates + 1];
  const Pack<T, N> g = load_pack<T, N>(grad + at);
  for (int j = 0; j < kStates; ++j) state[j] = load_pack<T, N>(states.buffer[j] + at);
  bool nonfinite = false;
  for (int k = 0; k < N; ++k) {
    T values[kStates + 1];
    for (int j = 0; j < kStates; ++j) values[j] = state[j].v[k];
    p.v[k] = Update::apply(s, SquareRoot<T>(), p.v[k], g.v[k], values);
    nonfinite = nonfinite || !isfinite(p.v[k]);
    for (int j = 0; j < kStates; ++j) state[j].v[k] = values[j];
  }
  for (int j = 0; j < kStates; ++j) store_pack<T, N>(states.buffer[j] + at, state[j]);
  store_pack<T, N>(param + at, p);
  return nonfinite;
}

// A thread per 16 bytes of each buffer, then per element of the tail. The block's first thread rounds the
// step-dependent scalars to T, because conversions from f64 are slow on most GPUs. Reads and writes parameter and
// states, reads the gradient; arithmetic in T.
template <class T, class Update>
__global__ void optim_kernel(typename Update::template Scalars<T> constants, const double* coefficients,
                             std::int32_t* nonfinite_flag, std::int64_t n, bool packed, T* param, const T* grad,
                             OptimStates<T> states) {
  constexpr int N = kPack<T>;
  __shared__ typename Update::template Scalars<T> shared;
  if (threadIdx.x == 0) {
    shared = constants;
    Update::at_step(shared, coefficients);
  }
  __syncthreads();
  const typename Update::template Scalars<T> s = shared;
  const std::int64_t packs = packed ? n / N : 0;
  bool nonfinite = false;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    if (update_run<N, T, Update>(s, i * N, param, grad, states)) nonfinite = true;
  }
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) {
    if (update_run<1, T, Update>(s, i, param, grad, states)) nonfinite = true;
  }
  if (nonfinite && nonfinite_flag != nullptr) atomicOr(nonfinite_flag, 1);
}

// One thread: step += 1, then the rule's coefficients in f64, computed once for all blocks of the update.
template <class Rule>
__global__ void advance_kernel(Rule rule, const double* lr, double* step, double* coefficients) {
  const double now = *step + 1;
  *step = now;
  step_coefficients(rule, *lr, now, coefficients);
}

// One thread: factor = min(1, max_norm / (norm + 1e-6)). NaN stays NaN.
template <class Real>
__global__ void clip_factor_kernel(const Real* sum_of_squares, Real max_norm, Real* factor) {
  const Real ratio = max_norm / (sqrt(*sum_of_squares) + 1e-6);
  *factor = ratio > 1 ? 1 : ratio;
}

template <class T, class Rule>
void optim_update(Stream& stream, const Rule& rule, const StepState& s, std::int64_t n, T* param, const T* grad,
                  const OptimStates<T>& states) {
  bool packed = aligned16(param, grad);
  for (const T* buffer : states.buffer) packed = packed && aligned16(buffer);
  for_update(rule, [&]<class Update>(Update) {
    static_assert(Update::kStates <= kMostStates);
    launch(stream, Rule::kName, optim_kernel<T, Update>,
           dim3(blocks_for(stream, n, packed ? kThreads * kPack<T> : kThreads)), dim3(kThreads), 0,
           Update::template constants<T>(rule), s.coefficients.as<double>(), s.nonfinite.as<std::int32_t>(), n, packed,
           param, grad, states);
  });
}

template <class Rule>
void advance(Stream& stream, const Rule& rule, const double* lr, double* step, double* coefficients) {
  launch(stream, "advance", advance_kernel<Rule>, dim3(1), dim3(1), 0, rule, lr, step, coefficients);
}

inline void clip_factor(Stream& stream, const double* sum_of_squares, double max_norm, double* factor) {
  launch(stream, "clip_factor", clip_factor_kernel<double>, dim3(1), dim3(1), 0, sum_of_squares, max_norm, factor);
}

}  // namespace descent::gpu
