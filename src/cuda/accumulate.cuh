// Sums that stay accurate over any number of terms, and their reduction over a warp and a block in a fixed order.
// Sum<T> also stores the accumulated rounding error of the sum (Knuth's two-sum): in f32 it is as accurate as f64 on
// f32 data, at seven operations per term. f64 would take one, but GPUs that are not for data centers have 1/64 of the
// f64 throughput. WideSum<T> sums f32 in f64: for terms or sums beyond f32's range, or if there are few terms.
#pragma once

#include <type_traits>

#include "cuda/rounded.cuh"

namespace descent::gpu {

// The error is at most u |sum| + n^2 u^2 (sum of |terms|) for n terms added in sequence. A term that is a product must
// be rounded first (rounded.cuh). Finite terms may overflow in an intermediate sum, as in any sum in T.
template <class T>
struct Sum {
  T high = 0, low = 0;  // low accumulates the rounding errors of high

  // Sums and differences cannot be contracted to FMAs, so the compiler leaves this unchanged.
  __device__ void add(T value) {
    const T sum = high + value;
    const T part = sum - high;
    low += (high - (sum - part)) + (value - part);
    high = sum;
  }
  __device__ void merge(Sum other) {
    add(other.high);
    low += other.low;
  }
  __device__ double value() const {
    return isfinite(high) ? static_cast<double>(high) + static_cast<double>(low) : static_cast<double>(high);
  }
  __device__ T rounded() const { return isfinite(high) ? high + low : high; }  // to the nearest T
  __device__ Sum shuffle_down(int by) const {
    Sum other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    other.low = __shfl_down_sync(0xFFFFFFFFu, low, by);
    return other;
  }
};

struct DoubleSum {
  double high = 0;

  __device__ void add(double value) { high += value; }
  __device__ void merge(DoubleSum other) { high += other.high; }
  __device__ double value() const { return high; }
  __device__ DoubleSum shuffle_down(int by) const {
    DoubleSum other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    return other;
  }
};

template <class T>
using WideSum = std::conditional_t<std::is_same_v<T, double>, Sum<double>, DoubleSum>;

// Returns the merged state of the warp in lane 0. Every lane must call it. State has merge and shuffle_down.
template <class State>
__device__ State merge_warp(State state) {
  for (int by = kWarp / 2; by > 0; by /= 2) state.merge(state.shuffle_down(by));
  return state;
}

// Returns the merged state of the block in thread 0. Every thread must call it; blockDim.x is a multiple of 32, at most
// 1024. `shared` holds 32 states and may be reused after the next __syncthreads.
template <class State>
__device__ State merge_block(State state, State* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  state = merge_warp(state);
  if (lane == 0) shared[warp] = state;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (warp == 0) {
    state = lane < warps ? shared[lane] : State{};
    state = merge_warp(state);
  }
  return state;
}

}  // namespace descent::gpu
