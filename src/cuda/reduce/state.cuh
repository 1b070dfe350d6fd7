// States of reductions other than sums (for those see accumulate.cuh), how elements are added to a state, and where its
// result is written. A state starts empty and may be merged in any grouping; ties go to the smaller index, so the
// grouping affects only the last bits of sums.
#pragma once

#include "backend/backend.h"
#include "cuda/accumulate.cuh"

namespace descent::gpu {

template <class T>
struct MaximumState {  // NaN counts as larger than everything
  T high = static_cast<T>(-INFINITY);

  __device__ void add(T value) { high = value > high || isnan(value) ? value : high; }
  __device__ void merge(MaximumState other) { add(other.high); }
  __device__ T rounded() const { return high; }
  __device__ MaximumState shuffle_down(int by) const {
    MaximumState other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    return other;
  }
};

// The smallest index that was added, or -1 if there was none.
struct FirstState {
  static constexpr long long kNone = 0x7FFFFFFFFFFFFFFFll;
  long long first = kNone;

  __device__ void add(std::int64_t index) { first = index < first ? index : first; }
  __device__ void merge(FirstState other) { add(other.first); }
  __device__ std::int64_t value() const { return first == kNone ? -1 : first; }
  __device__ FirstState shuffle_down(int by) const {
    FirstState other;
    other.first = __shfl_down_sync(0xFFFFFFFFu, first, by);
    return other;
  }
};

// Index of the first maximum; NaN counts as larger than everything. 0 if nothing was added.
template <class T>
struct ArgmaxState {
  static constexpr long long kNone = -1;
  T high = 0;
  long long index = kNone;

  __device__ void add(T value, long long at) {
    if (at != kNone && (index == kNone || before(value, at))) {
      high = value;
      index = at;
    }
  }
  __device__ void merge(ArgmaxState other) { add(other.high, other.index); }
  __device__ std::int64_t value() const { return index == kNone ? 0 : index; }
  __device__ ArgmaxState shuffle_down(int by) const {
    ArgmaxState other;
    other.high = __shfl_down_sync(0xFFFFFFFFu, high, by);
    other.index = __shfl_down_sync(0xFFFFFFFFu, index, by);
    return other;
  }

 private:
  __device__ bool before(T value, long long at) const {
    if (isnan(high)) return isnan(value) && at < index;
    return value > high || isnan(value) || (value == high && at < index);
  }
};

// ---- visits: how element i of a group is added to its state; bf16 arrives as float
struct AddValue {
  template <class State, class T>
  __device__ void operator()(State& state, std::int64_t, std::int64_t, T value) const {
    state.add(value);
  }
};
// Multiplies by a power of two: for a mean, one so small that the sum cannot overflow; for a sum, 1.
template <class T>
struct AddScaled {
  T scale;
  template <class State>
  __device__ void operator()(State& state, std::int64_t, std::int64_t, T value) const {
    state.add(rounded_product(value, scale));
  }
};
struct AddSquare {  // in f64: the square of a gradient may overflow or underflow f32
  template <class State, class T>
  __device__ void operator()(State& state, std::int64_t, std::int64_t, T value) const {
    state.add(static_cast<double>(value) * static_cast<double>(value));
  }
};
struct AddPlace {
  template <class State, class T>
  __device__ void operator()(State& state, std::int64_t, std::int64_t i, T value) const {
    state.add(value, i);
  }
};
template <class T>
struct AddEqual {  // adds elements equal to the group's y; NaN equals NaN
  const T* y;
  __device__ void operator()(FirstState& state, std::int64_t group, std::int64_t i, Wide<T> value) const {
    const Wide<T> top = widen(y[group]);
    if (value == top || (isnan(value) && isnan(top))) state.add(i);
  }
};
struct MergeState {  // the second stage
  template <class State>
  __device__ void operator()(State& state, std::int64_t, std::int64_t, State part) const {
    state.merge(part);
  }
};

// ---- emits: where the result of a group is written
template <class State>
struct KeepState {
  State* to;
  __device__ void operator()(std::int64_t group, State state) const { to[group] = state; }
};
template <class T>
struct WriteValue {
  T* y;
  Wide<T> divisor;
  Write write;
  template <class State>
  __device__ void operator()(std::int64_t group, State state) const {
    const Wide<T> value = state.rounded() / divisor;
    y[group] = narrow<T>(write == Write::accumulate ? widen(y[group]) + value : value);
  }
};
template <class T>
struct WritePlain {  // without division or accumulation: an index, a sum in f64
  T* y;
  template <class State>
  __device__ void operator()(std::int64_t group, State state) const {
    y[group] = static_cast<T>(state.value());
  }
};

}  // namespace descent::gpu
