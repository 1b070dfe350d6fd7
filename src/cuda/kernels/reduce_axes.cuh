// Sums over any pattern of axes, one axis after another: the largest first, so that what is left for the others is
// small. Between two axes the sums are kept as states, not rounded.
#pragma once

#include <array>

#include "cuda/kernels/reduce_columns.cuh"
#include "cuda/kernels/reduce_rows.cuh"
#include "descent/shape.h"

namespace descent::gpu {

// x seen as [outer, n, inner]: one result per group of n elements that lie `inner` apart, also where n is 0.
template <class State, class In, class Visit, class Emit>
void reduce_groups(Queue& q, const In* x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Visit& visit,
                   const Emit& emit) {
  if (outer == 0 || inner == 0) return;
  if (n == 1) {  // no sum at all: one long row of results
    inner *= outer;
    outer = 1;
  }
  if (inner == 1) {
    reduce_rows<State>(q, x, outer, n, visit, emit);
  } else {
    reduce_columns<State>(q, x, outer, n, inner, visit, emit);
  }
}

// The axes of x, seen from an y that broadcasts to it: neighbours that are both kept or both summed are one axis.
struct SumAxes {
  int rank = 0;
  std::array<std::int64_t, Shape::kMaxRank> size{};
  std::array<bool, Shape::kMaxRank> summed{};

  SumAxes(const Shape& x, const Shape& y) {
    for (int i = 0; i < x.rank(); ++i) {
      const int j = i - (x.rank() - y.rank());
      if (x[i] != 1) add(x[i], j < 0 || y[j] == 1);
    }
  }

  int to_sum() const {
    int count = 0;
    for (int i = 0; i < rank; ++i) count += summed[at(i)] ? 1 : 0;
    return count;
  }
  int largest_summed() const {
    int largest = -1;
    for (int i = 0; i < rank; ++i) {
      if (summed[at(i)] && (largest < 0 || size[at(i)] > size[at(largest)])) largest = i;
    }
    return largest;
  }
  std::int64_t product(int first, int last) const {
    std::int64_t all = 1;
    for (int i = first; i < last; ++i) all *= size[at(i)];
    return all;
  }
  SumAxes without(int axis) const {
    SumAxes rest;
    for (int i = 0; i < rank; ++i) {
      if (i != axis) rest.add(size[at(i)], summed[at(i)]);
    }
    return rest;
  }

 private:
  SumAxes() = default;
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  void add(std::int64_t n, bool sum) {
    if (rank > 0 && summed[at(rank - 1)] == sum) {
      size[at(rank - 1)] *= n;
    } else {
      size[at(rank)] = n;
      summed[at(rank++)] = sum;
    }
  }
};

// emit(i, sum) for every element i that is left. In: elements, which visit adds, or the states of an earlier axis.
template <class State, class In, class Visit, class Emit>
void sum_axes(Queue& q, const In* x, const SumAxes& axes, const Visit& visit, const Emit& emit) {
  const int axis = axes.largest_summed();
  if (axis < 0) return reduce_groups<State>(q, x, axes.product(0, axes.rank), 1, 1, visit, emit);
  const std::int64_t outer = axes.product(0, axis), n = axes.size[static_cast<std::size_t>(axis)],
                     inner = axes.product(axis + 1, axes.rank);
  if (axes.to_sum() == 1) return reduce_groups<State>(q, x, outer, n, inner, visit, emit);
  const Scratch<State> partial(q, outer * inner);
  reduce_groups<State>(q, x, outer, n, inner, visit, KeepState<State>{partial.data()});
  sum_axes<State>(q, static_cast<const State*>(partial.data()), axes.without(axis), MergeState{}, emit);
}

}  // namespace descent::gpu
