// Cross entropy of rows of up to 8192 classes (f64: 4096): loss, gradient and num_correct in one kernel that
// reads the logits once.
#pragma once

#include "cuda/loss/cross_entropy_rows.cuh"

namespace descent::gpu {

// The first maximum of a row whose maximum `top` is known; NaN takes precedence. 0 if there are no elements.
struct PlaceState {
  static constexpr int kNumber = 1 << 16, kNone = 1 << 30;
  int key = kNone;

  template <class T>
  __device__ void add(T x, T top, int j) {
    const int at = isnan(x) ? j : kNumber + j;
    if ((isnan(x) || x == top) && at < key) key = at;
  }
  __device__ void merge(PlaceState other) { key = other.key < key ? other.key : key; }
  __device__ int value() const { return key == kNone ? 0 : key % kNumber; }
  __device__ PlaceState shuffle_down(int by) const {
    PlaceState other;
    other.key = __shfl_down_sync(0xFFFFFFFFu, key, by);
    return other;
  }
};

struct CountState {
  int count = 0;

  __device__ void merge(CountState other) { count += other.count; }
  __device__ CountState shuffle_down(int by) const {
    CountState other;
    other.count = __shfl_down_sync(0xFFFFFFFFu, count, by);
    return other;
  }
};

// Whether the row's argmax, `guess`, is its label, or the argmax of its target.
template <class T, class Team>
__device__ bool is_hit(const CrossEntropyRows<T>& c, const Team& team, std::int64_t row, int here, int width,
                       std::int64_t guess) {
  if (c.label != nullptr) return !c.ignored(row) && guess == c.label[row];
  ArgmaxState<T> wanted;
  for (int j = team.lane(); j < here; j += width) wanted.add(c.probability[row * c.classes + j], j);
  return guess == team.all(wanted);
}

// The most threads per block that registers allow.
constexpr int held_threads(int K, bool block) {
  if (block || K > 8) return kThreads;
  return K > 2 ? 512 : 1024;
}

// A team holds a row in registers, K classes per thread. Reads logits once (probabilities two or three times), writes
// gradients once. Each block sums its losses in WideSum<T>; a single block writes *c.loss. kTargets: a target for every
// class, not a label.
template <class T, int K, bool kBlock, bool kTargets>
__global__ void __launch_bounds__(held_threads(K, kBlock))
    cross_entropy_register_resident_kernel(CrossEntropyRows<T> c, int width, WideSum<T>* partial) {
  alignas(16) __shared__ unsigned char raw[kTeamBytes];
  const SoftmaxTeam<kBlock> team(width, raw);
  const int lane = team.lane(), classes = static_cast<int>(c.classes);
  const double divisor = c.find_divisor(raw), scale = 1.0 / divisor;
  if (grid_thread() == 0) *c.divisor_used = divisor;
  WideSum<T> losses;
  CountState num_correct;
  for (std::int64_t first = team.first(); first < c.rows; first += team.step()) {
    const bool active = team.row(first) < c.rows;
    const std::int64_t row = active ? team.row(first) : 0;
    const int here = active ? classes : 0;
    T held[K];
    hold_row(held, c.x + row * classes, here, lane, width);
    HighestState<T> highest;
    for (int k = 0; k < K; ++k) highest.add(held[k]);
    const T top = team.all(highest);
    if (c.num_correct != nullptr) {
      PlaceState place;
      for (int k = 0; k < K; ++k) {
        if (lane + k * width < here) place.add(held[k], top, lane + k * width);
      }
      if (is_hit(c, team, row, here, width, team.all(place)) && active && lane == 0) ++num_correct.count;
    }
    Sum<T> sum;
    WideSum<T> targets;
    for (int k = 0; k < K; ++k) {
      const int j = lane + k * width;
      if (j >= here) continue;
      const T e = exp(held[k] - top);
      sum.add(e);
      if constexpr (kTargets) {
        targets.add(c.share(row, j));
      } else {
        held[k] = e;
      }
    }
    const RowTotal<T> total{top, team.all(sum)};
    double loss = 0;
    if constexpr (kTargets) {
      const TargetRow<T> target(c, row, total, team.all(targets), scale);
      WideSum<T> added;
      for (int k = 0; k < K; ++k) {
        const int j = lane + k * width;
        if (j >= here) continue;
        const double share = c.share(row, j);
        target.add(added, share, held[k]);
        if (c.dx != nullptr) c.dx[row * classes + j] = target.slope(share, exp(held[k] - top));
      }
      loss = target.loss(team.all(added));
    } else {
      const LabelledRow<T> labelled(c, row, total, scale);
      for (int k = 0; k < K; ++k) {
        const int j = lane + k * width;
        if (j < here && c.dx != nullptr) c.dx[row * classes + j] = labelled.slope(j, held[k]);
      }
      loss = labelled.loss;
    }
    if (active && lane == 0) {
      if (c.each != nullptr) {
        c.each[row] = static_cast<T>(loss);
      } else {
        losses.add(loss);
      }
    }
  }
  if (c.num_correct != nullptr) {
    num_correct = merge_warp(num_correct);
    if (threadIdx.x % kWarp == 0 && num_correct.count != 0) atomicAdd(c.num_correct, num_correct.count);
  }
  if (c.each == nullptr) {
    losses = merge_block(losses, reinterpret_cast<WideSum<T>*>(raw));
    if (threadIdx.x == 0 && gridDim.x == 1) *c.loss = static_cast<T>(losses.value() / divisor);
    if (threadIdx.x == 0 && gridDim.x != 1) partial[blockIdx.x] = losses;
  }
}

}  // namespace descent::gpu
