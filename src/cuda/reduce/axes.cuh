// Sums over any set of axes, one axis at a time: the largest first, so that little data is left for the others. Between
// two axes the sums are stored as states, not rounded.
#pragma once

#include "core/broadcast.h"
#include "cuda/reduce/columns.cuh"
#include "cuda/reduce/rows.cuh"

namespace descent::gpu {

// x viewed as [outer, n, inner]: one result per group of n elements with stride `inner`, also if n is 0.
template <class State, class In, class Visit, class Emit>
void reduce_groups(Stream& stream, const In* x, std::int64_t outer, std::int64_t n, std::int64_t inner,
                   const Visit& visit, const Emit& emit) {
  if (outer == 0 || inner == 0) return;
  if (n == 1) {  // nothing to sum: one long row of results
    inner *= outer;
    outer = 1;
  }
  if (inner == 1) {
    reduce_rows<State>(stream, x, outer, n, visit, emit);
  } else {
    reduce_columns<State>(stream, x, outer, n, inner, visit, emit);
  }
}

// Calls emit(i, sum) for every element i of the result. In: elements, which visit adds, or the
// states of an earlier axis.
template <class State, class In, class Visit, class Emit>
void sum_axes(Stream& stream, const In* x, const SumAxes& axes, const Visit& visit, const Emit& emit) {
  const int axis = axes.largest_summed();
  if (axis < 0) return reduce_groups<State>(stream, x, axes.product(0, axes.rank), 1, 1, visit, emit);
  const std::int64_t outer = axes.product(0, axis), n = axes.size[static_cast<std::size_t>(axis)],
                     inner = axes.product(axis + 1, axes.rank);
  if (axes.to_sum() == 1) return reduce_groups<State>(stream, x, outer, n, inner, visit, emit);
  const Scratch<State> partial(stream, outer * inner);
  reduce_groups<State>(stream, x, outer, n, inner, visit, KeepState<State>{partial.data()});
  sum_axes<State>(stream, static_cast<const State*>(partial.data()), axes.without(axis), MergeState{}, emit);
}

}  // namespace descent::gpu
