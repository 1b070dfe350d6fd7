// The teams of threads that process rows of a softmax, and their states. A row of up to 8192 elements (4096 if
// registers are short) is held in registers, K per thread, by part of a warp, a warp or a block, so it is read once.
// Longer rows are streamed by a block of 1024 threads that reads them twice, the second time in reverse, so that much
// of them is still in cache.
#pragma once

#include "cuda/accumulate.cuh"
#include "cuda/reduce/run.cuh"

namespace descent::gpu {

constexpr int kTeamBytes = kWarp * 32 + 32;  // 32 states and one result
constexpr int kStreamThreads = 1024;

// The threads that share a row. all(state) returns the value of their merged states to each of them; every thread of
// the warp or block must call it, even if `row` is past the last one.
template <bool kBlock>
class SoftmaxTeam;

template <>
class SoftmaxTeam<false> {  // `width` lanes of a warp, a power of two
 public:
  __device__ SoftmaxTeam(int width, unsigned char*) : width_(width), lane_(static_cast<int>(threadIdx.x) % kWarp) {}

  __device__ int lane() const { return lane_ % width_; }
  __device__ std::int64_t first() const { return grid_thread() / kWarp * (kWarp / width_); }
  __device__ std::int64_t step() const { return grid_threads() / kWarp * (kWarp / width_); }
  __device__ std::int64_t row(std::int64_t first) const { return first + lane_ / width_; }
  template <class State>
  __device__ auto all(State state) const {
    for (int by = width_ / 2; by > 0; by /= 2) state.merge(state.shuffle_down(by));
    return __shfl_sync(0xFFFFFFFFu, state.value(), lane_ - lane());
  }

 private:
  int width_, lane_;
};

template <>
class SoftmaxTeam<true> {  // a block
 public:
  __device__ SoftmaxTeam(int, unsigned char* shared) : shared_(shared) {}

  __device__ int lane() const { return static_cast<int>(threadIdx.x); }
  __device__ std::int64_t first() const { return blockIdx.x; }
  __device__ std::int64_t step() const { return gridDim.x; }
  __device__ std::int64_t row(std::int64_t first) const { return first; }
  // May be called again at once: what a thread overwrites first, others have read before the last barrier.
  template <class State>
  __device__ auto all(State state) const {
    static_assert(sizeof(State) <= 32);
    auto* const result = reinterpret_cast<decltype(state.value())*>(shared_ + kWarp * 32);
    state = merge_block(state, reinterpret_cast<State*>(shared_));
    if (threadIdx.x == 0) *result = state.value();
    __syncthreads();
    return *result;
  }

 private:
  unsigned char* shared_;
};

template <class T>
struct HighestState {  // skips NaN, which reappears in the sum of exponentials
  T high = static_cast<T>(-INFINITY);

  __device__ void add(T value) { high = value > high ? value : high; }
  __device__ void merge(HighestState other) { add(other.high); }
  __device__ T value() const { return high; }
  __device__ HighestState shuffle_down(int by) const {
    HighestState other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    return other;
  }
};

template <class T>
struct RowTotal {
  T top;
  double sum;  // of exp(x - top)
};

// Online softmax: maximum and sum of exponentials in one pass. When the maximum rises, which is rare, the sum is
// rescaled, in f64, so that only the exponentials themselves are rounded to T.
template <class T>
struct OnlineState {
  T top = static_cast<T>(-INFINITY);
  Sum<T> sum;

  template <int N>
  __device__ void add(const T (&x)[N]) {
    T high = top;
    for (int i = 0; i < N; ++i) high = x[i] > high ? x[i] : high;
    raise(high);
    for (int i = 0; i < N; ++i) {
      const T nothing = isnan(x[i]) ? x[i] : T(0);
      sum.add(top == static_cast<T>(-INFINITY) ? nothing : exp(x[i] - top));
    }
  }
  __device__ void merge(OnlineState other) {
    const T high = other.top > top ? other.top : top;
    raise(high);
    other.raise(high);
    sum.merge(other.sum);
  }
  // The softmax of a row of -inf is NaN, like exp(-inf - -inf).
  __device__ RowTotal<T> value() const {
    return {top, top == static_cast<T>(-INFINITY) ? static_cast<double>(NAN) : sum.value()};
  }
  __device__ OnlineState shuffle_down(int by) const {
    OnlineState other;
    other.top = __shfl_down_sync(0xFFFFFFFFu, top, by);
    other.sum = sum.shuffle_down(by);
    return other;
  }

 private:
  __device__ void raise(T high) {
    if (!(high > top)) return;
    scale(sum, exp(static_cast<double>(top) - static_cast<double>(high)));
    top = high;
  }
  __device__ static void scale(Sum<float>& sum, double factor) {
    const double scaled = sum.value() * factor;
    sum.high = static_cast<float>(scaled);
    sum.low = static_cast<float>(scaled - static_cast<double>(sum.high));
  }
  __device__ static void scale(Sum<double>& sum, double factor) {
    sum.high *= factor;
    sum.low *= factor;
  }
};

// log(sum) of exponentials, the largest of which is 1: accurate to a few ulps of T even if the sum is close to 1.
template <class T>
__device__ T log_of_sum(double sum) {
  return log1p(static_cast<T>(sum - 1));
}

// Loads elements lane, lane + width, ... of a row of n; -inf past its end.
template <class T, int K>
__device__ void hold_row(T (&held)[K], const T* row, int n, int lane, int width) {
  for (int k = 0; k < K; ++k) {
    const int j = lane + k * width;
    held[k] = j < n ? row[j] : static_cast<T>(-INFINITY);
  }
}

// Loads kPacksAhead packs of x, `step` apart, from index i on, into consecutive values.
template <class T, int N>
__device__ void load_ahead(T (&values)[kPacksAhead * N], const T* x, std::int64_t i, std::int64_t step, bool aligned) {
  for (int a = 0; a < kPacksAhead; ++a) {
    const Pack<T, N> pack = load_any<T, N>(x + i + a * step, aligned);
    for (int v = 0; v < N; ++v) values[a * N + v] = pack.v[v];
  }
}

// ---- host
template <int K_, bool kBlock_>
struct HeldPlan {
  static constexpr int K = K_;
  static constexpr bool kBlock = kBlock_;
  int width;  // threads per row
  std::int64_t rows_of_block() const { return kBlock ? 1 : kThreads / width; }
};

// Calls f(plan) for rows of n elements, at most kMost per thread; returns false if they are too long for registers.
template <int kMost, class F>
bool with_register_plan(std::int64_t n, F&& f) {
  if (n <= 2 * kWarp) {
    int width = 1;
    while (2 * width < n) width *= 2;
    f(HeldPlan<2, false>{width});
  } else if (n <= 8 * kWarp) {
    f(HeldPlan<8, false>{kWarp});
  } else if (n <= kMost * kWarp) {
    f(HeldPlan<kMost, false>{kWarp});
  } else if (n <= 8 * kThreads) {
    f(HeldPlan<8, true>{kThreads});
  } else if (n <= kMost * kThreads) {
    f(HeldPlan<kMost, true>{kThreads});
  } else {
    return false;
  }
  return true;
}

// One block per multiprocessor: fewer rows at a time, so that more of each is still in cache for the second pass.
inline unsigned stream_blocks(const Stream& stream, std::int64_t rows) {
  return static_cast<unsigned>(rows < stream.multiprocessors ? rows : stream.multiprocessors);
}

}  // namespace descent::gpu
