// Cross entropy of longer rows than cross_entropy_register_resident.cuh takes: a block reads a row's logits for the
// maximum and the sum of exponentials, and again, in reverse, for the gradient.
#pragma once

#include "cuda/loss/cross_entropy_rows.cuh"

namespace descent::gpu {

// This thread's share of a row, as in gather_online, plus the argmax if num_correct is counted.
template <class T>
__device__ void gather_logits(OnlineState<T>& state, ArgmaxState<T>& guess, const CrossEntropyRows<T>& c,
                              std::int64_t start, bool aligned) {
  constexpr int N = kPack<T>;
  const RunSplit run(start, start + c.classes, N);
  const std::int64_t step = std::int64_t{kStreamThreads} * N;
  for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
    const T one[1] = {c.x[run.edge(k)]};
    state.add(one);
    if (c.num_correct != nullptr) guess.add(one[0], run.edge(k) - start);
  }
  std::int64_t i = run.body + static_cast<std::int64_t>(threadIdx.x) * N;
  for (; i + (kPacksAhead - 1) * step < run.stop; i += kPacksAhead * step) {
    T values[kPacksAhead * N];
    load_ahead<T, N>(values, c.x, i, step, aligned);
    state.add(values);
    if (c.num_correct == nullptr) continue;
    for (int v = 0; v < kPacksAhead * N; ++v) guess.add(values[v], i + v / N * step + v % N - start);
  }
  for (; i < run.stop; i += step) {
    const Pack<T, N> pack = load_any<T, N>(c.x + i, aligned);
    state.add(pack.v);
    if (c.num_correct == nullptr) continue;
    for (int v = 0; v < N; ++v) guess.add(pack.v[v], i + v - start);
  }
}

// The second pass over a row: f(j, x) is its gradient at class j, and may add to a loss.
template <class T, class F>
__device__ void spread_slopes(const CrossEntropyRows<T>& c, std::int64_t start, bool aligned, F& f) {
  constexpr int N = kPack<T>;
  const RunSplit run(start, start + c.classes, N);
  for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
    const T slope = f(run.edge(k) - start, c.x[run.edge(k)]);
    if (c.dx != nullptr) c.dx[run.edge(k)] = slope;
  }
  for (std::int64_t i = run.stop - N * (std::int64_t{1} + threadIdx.x); i >= run.body; i -= N * kStreamThreads) {
    Pack<T, N> pack = load_any<T, N>(c.x + i, aligned);
    for (int v = 0; v < N; ++v) pack.v[v] = f(i + v - start, pack.v[v]);
    if (c.dx != nullptr) store_any<T, N>(c.dx + i, pack, aligned);
  }
}

template <class T>
struct LabelledSlope {
  LabelledRow<T> row;
  __device__ T operator()(std::int64_t j, T x) const { return row.slope(j, exp(x - row.top)); }
};
template <class T>
struct TargetSlope {
  const CrossEntropyRows<T>& c;
  TargetRow<T> target;
  std::int64_t row;
  WideSum<T> loss;
  __device__ T operator()(std::int64_t j, T x) {
    const double share = c.share(row, j);
    target.add(loss, share, x);
    return target.slope(share, exp(x - target.top));
  }
};

// One block of 1024 threads per row. Reads logits twice (labels without a gradient: once) and writes gradients
// once, 16 bytes per thread if both are aligned; reads probabilities twice. Each row's loss goes to c.each or, as a
// state, to row_losses.
template <class T, bool kTargets>
__global__ void __launch_bounds__(kStreamThreads)
    cross_entropy_streamed_kernel(CrossEntropyRows<T> c, bool aligned, WideSum<T>* row_losses) {
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<true> team(kStreamThreads, raw);
  const double divisor = c.find_divisor(raw), scale = 1.0 / divisor;
  if (grid_thread() == 0) *c.divisor_used = divisor;
  for (std::int64_t row = blockIdx.x; row < c.rows; row += gridDim.x) {
    const std::int64_t start = row * c.classes;
    OnlineState<T> state;
    ArgmaxState<T> guess, wanted;
    WideSum<T> targets;
    gather_logits(state, guess, c, start, aligned);
    if constexpr (kTargets) {
      for (std::int64_t j = threadIdx.x; j < c.classes; j += kStreamThreads) {
        targets.add(c.share(row, j));
        if (c.num_correct != nullptr && c.label == nullptr) wanted.add(c.probability[start + j], j);
      }
    }
    const RowTotal<T> total = team.all(state);
    if (c.num_correct != nullptr) {
      const std::int64_t at = team.all(guess);
      const std::int64_t other = c.label == nullptr ? team.all(wanted) : c.label[row];
      if (threadIdx.x == 0 && at == other && !c.ignored(row)) atomicAdd(c.num_correct, 1);
    }
    double loss = 0;
    if constexpr (kTargets) {
      TargetSlope<T> slope{c, TargetRow<T>(c, row, total, team.all(targets), scale), row, {}};
      spread_slopes(c, start, aligned, slope);
      loss = slope.target.loss(team.all(slope.loss));
    } else {
      LabelledSlope<T> slope{LabelledRow<T>(c, row, total, scale)};
      if (c.dx != nullptr) spread_slopes(c, start, aligned, slope);
      loss = slope.row.loss;
    }
    if (threadIdx.x != 0) continue;
    if (c.each != nullptr) {
      c.each[row] = static_cast<T>(loss);
    } else {
      WideSum<T> one;
      one.add(loss);
      row_losses[row] = one;
    }
  }
}

}  // namespace descent::gpu
