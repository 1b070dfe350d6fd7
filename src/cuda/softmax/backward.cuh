// The gradients of softmax and log_softmax from their outputs: a sum over the row in Sum<T>, then one pass
// over the elements.
#pragma once

#include "backend/backend.h"
#include "cuda/softmax/rows.cuh"

namespace descent::gpu {

template <class T>
struct SoftmaxSlope {
  __device__ static T term(T y, T dy) { return rounded_product(y, dy); }
  __device__ static T slope(T y, T dy, T sum) { return y * (dy - sum); }
};
template <class T>
struct LogSoftmaxSlope {
  __device__ static T term(T, T dy) { return dy; }
  __device__ static T slope(T y, T dy, T sum) { return dy - exp(y) * sum; }
};

// A team holds a row in registers, K elements of y and of dy per thread. Reads both once and writes dx once.
template <class T, int K, bool kBlock, class Slope>
__global__ void __launch_bounds__(kThreads, 1)
    softmax_backward_register_resident_kernel(const T* y, const T* dy, T* dx, Write write, std::int64_t rows, int n,
                                              int width) {
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<kBlock> team(width, raw);
  for (std::int64_t first = team.first(); first < rows; first += team.step()) {
    const std::int64_t row = team.row(first);
    const int here = row < rows ? n : 0, lane = team.lane();
    T held[K], slope[K];
    hold_row(held, y + row * n, here, lane, width);
    hold_row(slope, dy + row * n, here, lane, width);
    Sum<T> sum;
    for (int k = 0; k < K; ++k) {
      if (lane + k * width < here) sum.add(Slope::term(held[k], slope[k]));
    }
    const T total = static_cast<T>(team.all(sum));
    for (int k = 0; k < K; ++k) {
      const int j = lane + k * width;
      if (j >= here) continue;
      const T value = Slope::slope(held[k], slope[k], total);
      T& to = dx[row * n + j];
      to = write == Write::accumulate ? to + value : value;
    }
  }
}

// One block per row. Reads y and dy twice and writes dx once, 16 bytes per thread if all are aligned.
template <class T, class Slope>
__global__ void __launch_bounds__(kStreamThreads)
    softmax_backward_streamed_kernel(const T* y, const T* dy, T* dx, Write write, std::int64_t rows, std::int64_t n,
                                     bool aligned) {
  constexpr int N = kPack<T>;
  constexpr std::int64_t kStep = std::int64_t{kStreamThreads} * N;
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<true> team(kStreamThreads, raw);
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const RunSplit run(row * n, row * n + n, N);
    Sum<T> sum;
    for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
      sum.add(Slope::term(y[run.edge(k)], dy[run.edge(k)]));
    }
    for (std::int64_t i = run.body + static_cast<std::int64_t>(threadIdx.x) * N; i < run.stop; i += kStep) {
      const Pack<T, N> a = load_any<T, N>(y + i, aligned), b = load_any<T, N>(dy + i, aligned);
      for (int v = 0; v < N; ++v) sum.add(Slope::term(a.v[v], b.v[v]));
    }
    const T total = static_cast<T>(team.all(sum));
    for (std::int64_t k = threadIdx.x; k < run.edges(); k += kStreamThreads) {
      T& to = dx[run.edge(k)];
      const T value = Slope::slope(y[run.edge(k)], dy[run.edge(k)], total);
      to = write == Write::accumulate ? to + value : value;
    }
    for (std::int64_t i = run.stop - N * (std::int64_t{1} + threadIdx.x); i >= run.body; i -= kStep) {
      const Pack<T, N> a = load_any<T, N>(y + i, aligned), b = load_any<T, N>(dy + i, aligned);
      Pack<T, N> to{};
      if (write == Write::accumulate) to = load_any<T, N>(dx + i, aligned);
      for (int v = 0; v < N; ++v) {
        const T value = Slope::slope(a.v[v], b.v[v], total);
        to.v[v] = write == Write::accumulate ? to.v[v] + value : value;
      }
      store_any<T, N>(dx + i, to, aligned);
    }
  }
}

template <class T, class Slope>
void softmax_backward_of(Stream& stream, const char* name, const T* y, const T* dy, std::int64_t rows, std::int64_t n,
                         T* dx, Write write) {
  if (rows == 0 || n == 0) return;
  const bool held = with_register_plan<16>(n, [&]<class P>(P plan) {
    launch(stream, name, softmax_backward_register_resident_kernel<T, P::K, P::kBlock, Slope>,
           blocks_for(stream, rows, plan.rows_of_block()), kThreads, 0, y, dy, dx, write, rows, static_cast<int>(n),
           plan.width);
  });
  if (held) return;
  launch(stream, name, softmax_backward_streamed_kernel<T, Slope>, stream_blocks(stream, rows), kStreamThreads, 0, y,
         dy, dx, write, rows, n, aligned16(y, dy, dx));
}

template <class T>
void softmax_backward(Stream& stream, const T* y, const T* dy, std::int64_t rows, std::int64_t n, T* dx, Write write) {
  softmax_backward_of<T, SoftmaxSlope<T>>(stream, "softmax_backward", y, dy, rows, n, dx, write);
}

template <class T>
void log_softmax_backward(Stream& stream, const T* y, const T* dy, std::int64_t rows, std::int64_t n, T* dx,
                          Write write) {
  softmax_backward_of<T, LogSoftmaxSlope<T>>(stream, "log_softmax_backward", y, dy, rows, n, dx, write);
}

}  // namespace descent::gpu
