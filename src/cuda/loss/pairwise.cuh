// Elementwise losses, with the gradient in the same pass. They are summed in WideSum<T>, like cross entropy: in f32,
// one addition in f64 per 8 or 12 bytes is no slower than memory.
#pragma once

#include "backend/backend.h"
#include "cuda/reduce/rows.cuh"

namespace descent::gpu {

// f(x, target, slope) returns the loss of one element and sets its derivative.
template <class T>
struct SquaredError {
  __device__ T operator()(T x, T target, T& slope) const {
    const T difference = x - target;
    slope = T(2) * difference;
    return difference * difference;
  }
};

template <class T>
struct LogisticError {
  __device__ T operator()(T x, T target, T& slope) const {
    const T size = fabs(x), e = exp(-size);  // at most 1: never overflows
    slope = (x >= 0 ? T(1) : e) / (T(1) + e) - target;
    // max(x, 0) - x t without a difference of infinities.
    const T share = x > 0 ? T(1) - target : target;
    return (share == 0 ? T(0) : share * size) + log1p(e);
  }
};

template <class T>
struct PairwiseLoss {
  const T *x, *target;
  std::int64_t n;
  double divisor;
  T* loss;  // [1]; not used if `each` is not null
  T* each;  // [n], or null
  T* dx;    // or null
  bool aligned;
};

template <class T>
struct WritePairwiseLoss {
  T* loss;
  double divisor;
  __device__ void operator()(std::int64_t, WideSum<T> sum) const { *loss = static_cast<T>(sum.value() / divisor); }
};

template <class T, class F>
__device__ void pairwise_element(const PairwiseLoss<T>& p, const F& f, std::int64_t i, T scale, WideSum<T>& sum) {
  T slope = 0;
  const T value = f(p.x[i], p.target[i], slope);
  if (p.dx != nullptr) p.dx[i] = slope * scale;
  if (p.each != nullptr) p.each[i] = value;
  sum.add(static_cast<double>(value));
}

// A thread handles 16 bytes of x and target at once, at any alignment. Reads both once, writes dx and the elements'
// losses once; sums in WideSum<T>. A single block writes *p.loss.
template <class T, class F>
__global__ void __launch_bounds__(kThreads) pairwise_loss_kernel(PairwiseLoss<T> p, F f, WideSum<T>* partial) {
  constexpr int N = kPack<T>;
  alignas(16) __shared__ unsigned char raw[kWarp * sizeof(WideSum<T>)];
  const T scale = static_cast<T>(1.0 / p.divisor);
  const std::int64_t body = p.n / N * N;
  WideSum<T> sum;
  for (std::int64_t i = grid_thread() * N; i < body; i += grid_threads() * N) {
    const Pack<T, N> x = load_any<T, N>(p.x + i, p.aligned), target = load_any<T, N>(p.target + i, p.aligned);
    Pack<T, N> slope, value;
    for (int v = 0; v < N; ++v) {
      value.v[v] = f(x.v[v], target.v[v], slope.v[v]);
      slope.v[v] *= scale;
      sum.add(static_cast<double>(value.v[v]));
    }
    if (p.dx != nullptr) store_any<T, N>(p.dx + i, slope, p.aligned);
    if (p.each != nullptr) store_any<T, N>(p.each + i, value, p.aligned);
  }
  for (std::int64_t i = body + grid_thread(); i < p.n; i += grid_threads()) pairwise_element(p, f, i, scale, sum);
  if (p.each != nullptr) return;
  sum = merge_block(sum, reinterpret_cast<WideSum<T>*>(raw));
  if (threadIdx.x == 0 && gridDim.x == 1) *p.loss = static_cast<T>(sum.value() / p.divisor);
  if (threadIdx.x == 0 && gridDim.x != 1) partial[blockIdx.x] = sum;
}

// The grid depends only on n, because each block sums its losses.
template <class T, class F>
void pairwise_loss(Stream& stream, const char* name, Reduction reduction, const T* x, const T* target, std::int64_t n,
                   T* loss, T* dx) {
  constexpr std::int64_t kOfBlock = 2048;
  const bool none = reduction == Reduction::none;
  if (none && n == 0) return;
  const double divisor = reduction == Reduction::mean ? static_cast<double>(n) : 1;
  T* const each = none ? loss : nullptr;
  const PairwiseLoss<T> p{x, target, n, divisor, loss, each, dx, aligned16(x, target, each, dx)};
  std::int64_t blocks = n <= 2 * kOfBlock ? 1 : divide_up(n, kOfBlock);
  if (blocks > kReducePieces) blocks = kReducePieces;
  const Scratch<WideSum<T>> partial(stream, blocks);
  launch(stream, name, pairwise_loss_kernel<T, F>, static_cast<unsigned>(blocks), kThreads, 0, p, F{}, partial.data());
  if (none || blocks == 1) return;
  reduce_rows<WideSum<T>>(stream, static_cast<const WideSum<T>*>(partial.data()), 1, blocks, MergeState{},
                          WritePairwiseLoss<T>{loss, divisor});
}

template <class T>
void mse(Stream& stream, Reduction reduction, const T* x, const T* target, std::int64_t n, T* loss, T* dx) {
  pairwise_loss<T, SquaredError<T>>(stream, "mse", reduction, x, target, n, loss, dx);
}

template <class T>
void bce_with_logits(Stream& stream, Reduction reduction, const T* x, const T* target, std::int64_t n, T* loss, T* dx) {
  pairwise_loss<T, LogisticError<T>>(stream, "bce_with_logits", reduction, x, target, n, loss, dx);
}

}  // namespace descent::gpu
