// Sums that stay accurate over any number of terms, and their reduction over a warp and a block in a fixed order: f64
// for elements of f32, an error-free transformation (Knuth's two-sum) for f64. The same rule as src/cpu/accumulate.h.
#pragma once

#include "cuda/launch.cuh"

namespace descent::gpu {

template <class T>
struct Sum;

template <>
struct Sum<float> {
  double high = 0;

  __device__ void add(double value) { high += value; }
  __device__ void merge(Sum other) { high += other.high; }
  __device__ double value() const { return high; }
  __device__ Sum shuffle_down(int by) const {
    Sum other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    return other;
  }
};

template <>
struct Sum<double> {
  double high = 0, low = 0;  // low gathers what rounding took from high

  // No FMA can be formed of sums and differences, so contraction leaves this as it is.
  __device__ void add(double value) {
    const double sum = high + value;
    const double part = sum - high;
    low += (high - (sum - part)) + (value - part);
    high = sum;
  }
  __device__ void merge(Sum other) {
    add(other.high);
    low += other.low;
  }
  __device__ double value() const { return isfinite(high) ? high + low : high; }
  __device__ Sum shuffle_down(int by) const {
    Sum other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    other.low = __shfl_down_sync(0xFFFFFFFFu, low, by);
    return other;
  }
};

// The merged state of the warp, in lane 0. Every lane of the warp takes part. State has merge and shuffle_down.
template <class State>
__device__ State merge_warp(State state) {
  for (int by = kWarp / 2; by > 0; by /= 2) state.merge(state.shuffle_down(by));
  return state;
}

// The merged state of the block, in thread 0. Every thread takes part; blockDim.x is a multiple of 32, at most 1024.
// `shared` holds 32 states; it may be used again after the next __syncthreads.
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
