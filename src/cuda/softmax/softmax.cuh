// softmax and log_softmax of rows. Exponentials are of differences from the row's maximum, as on the CPU; sums in
// Sum<T>. The two terms of a logarithm, x - top and -shift, are both at most 0: nothing cancels, and T is enough.
#pragma once

#include "cuda/softmax/rows.cuh"

namespace descent::gpu {

// A team holds a row in registers, K elements per thread. Reads x once and writes y once.
template <class T, int K, bool kBlock, bool kLog>
__global__ void __launch_bounds__(kThreads)
    softmax_register_resident_kernel(const T* x, T* y, std::int64_t rows, int n, int width) {
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<kBlock> team(width, raw);
  for (std::int64_t first = team.first(); first < rows; first += team.step()) {
    const std::int64_t row = team.row(first);
    const int here = row < rows ? n : 0, lane = team.lane();
    T held[K];
    hold_row(held, x + row * n, here, lane, width);
    HighestState<T> highest;
    for (int k = 0; k < K; ++k) highest.add(held[k]);
    const T top = team.all(highest);
    Sum<T> sum;
    for (int k = 0; k < K; ++k) {
      if (lane + k * width >= here) continue;
      const T e = exp(held[k] - top);
      sum.add(e);
      if constexpr (!kLog) held[k] = e;
    }
    const double total = team.all(sum);
    const T shift = kLog ? log_of_sum<T>(total) : T(0);
    const T share = T(1) / static_cast<T>(total);
    for (int k = 0; k < K; ++k) {
      const int j = lane + k * width;
      if (j >= here) continue;
      if constexpr (kLog) {
        y[row * n + j] = (held[k] - top) - shift;
      } else {
        y[row * n + j] = held[k] * share;
      }
    }
  }
}

template <class T, bool kLog>
struct SoftmaxOf {
  T top, share, shift;
  __device__ explicit SoftmaxOf(RowTotal<T> row)
      : top(row.top), share(T(1) / static_cast<T>(row.sum)), shift(kLog ? log_of_sum<T>(row.sum) : T(0)) {}
  __device__ T operator()(T x) const {
    if constexpr (kLog) return (x - top) - shift;
    return exp(x - top) * share;
  }
};

// Adds this thread's share of the row x[begin, end).
template <class T>
__device__ void gather_online(OnlineState<T>& state, const T* x, std::int64_t begin, std::int64_t end, bool aligned) {
  constexpr int N = kPack<T>;
  const RunSplit run(begin, end, N);
  const std::int64_t step = std::int64_t{kStreamThreads} * N;
  for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
    const T one[1] = {x[run.edge(k)]};
    state.add(one);
  }
  std::int64_t i = run.body + static_cast<std::int64_t>(threadIdx.x) * N;
  for (; i + (kPacksAhead - 1) * step < run.stop; i += kPacksAhead * step) {
    T values[kPacksAhead * N];
    load_ahead<T, N>(values, x, i, step, aligned);
    state.add(values);
  }
  for (; i < run.stop; i += step) state.add(load_any<T, N>(x + i, aligned).v);
}

// One block per row. Reads x twice and writes y once, 16 bytes per thread if both are aligned.
template <class T, bool kLog>
__global__ void __launch_bounds__(kStreamThreads)
    softmax_streamed_kernel(const T* x, T* y, std::int64_t rows, std::int64_t n, bool aligned) {
  constexpr int N = kPack<T>;
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<true> team(kStreamThreads, raw);
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    OnlineState<T> state;
    gather_online(state, x, row * n, row * n + n, aligned);
    const SoftmaxOf<T, kLog> softmax(team.all(state));
    const RunSplit run(row * n, row * n + n, N);
    for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
      y[run.edge(k)] = softmax(x[run.edge(k)]);
    }
    for (std::int64_t i = run.stop - N * (std::int64_t{1} + threadIdx.x); i >= run.body; i -= N * kStreamThreads) {
      Pack<T, N> pack = load_any<T, N>(x + i, aligned);
      for (int v = 0; v < N; ++v) pack.v[v] = softmax(pack.v[v]);
      store_any<T, N>(y + i, pack, aligned);
    }
  }
}

template <class T, bool kLog>
void softmax_of(Stream& stream, const char* name, const T* x, T* y, std::int64_t rows, std::int64_t n) {
  if (rows == 0 || n == 0) return;
  const bool held = with_register_plan<32>(n, [&]<class P>(P plan) {
    launch(stream, name, softmax_register_resident_kernel<T, P::K, P::kBlock, kLog>,
           blocks_for(stream, rows, plan.rows_of_block()), kThreads, 0, x, y, rows, static_cast<int>(n), plan.width);
  });
  if (held) return;
  launch(stream, name, softmax_streamed_kernel<T, kLog>, stream_blocks(stream, rows), kStreamThreads, 0, x, y, rows, n,
         aligned16(x, y));
}

template <class T>
void softmax(Stream& stream, const T* x, T* y, std::int64_t rows, std::int64_t n) {
  softmax_of<T, false>(stream, "softmax", x, y, rows, n);
}

template <class T>
void log_softmax(Stream& stream, const T* x, T* y, std::int64_t rows, std::int64_t n) {
  softmax_of<T, true>(stream, "log_softmax", x, y, rows, n);
}

}  // namespace descent::gpu
