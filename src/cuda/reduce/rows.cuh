// Row reductions: the elements of a group are contiguous. A short row takes a warp or part of one, a longer row a
// block. If long rows are few, each takes several blocks, whose states a second kernel merges in order.
#pragma once

#include "cuda/reduce/run.cuh"
#include "cuda/reduce/state.cuh"

namespace descent::gpu {

constexpr std::int64_t kWarpRow = 1024;  // maximum row length that a warp reduces alone

// `width` lanes, a power of two, take a row; consecutive lanes take consecutive packs of 16 bytes. Reads every element
// once; accumulates in the state's precision.
template <class State, class In, class Visit, class Emit>
__global__ void __launch_bounds__(kThreads) reduce_short_rows_kernel(const In* x, std::int64_t rows, std::int64_t n,
                                                                     int width, bool aligned, Visit visit, Emit emit) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, at_once = kWarp / width;
  const std::int64_t step = grid_threads() / kWarp * at_once;
  for (std::int64_t first = grid_thread() / kWarp * at_once; first < rows; first += step) {
    const std::int64_t row = first + lane / width;
    State state;
    if (row < rows) gather_run(state, visit, row, x, row * n, row * n + n, aligned, lane % width, width);
    // The state of a lane that merges with a lane of another row is no longer needed.
    for (int by = width / 2; by > 0; by /= 2) state.merge(state.shuffle_down(by));
    if (row < rows && lane % width == 0) emit(row, state);
  }
}

// Blocks of 256 threads. `pieces` blocks share a row, and all their threads stride over it together. emit gets index
// row * pieces + piece. Reads every element once.
template <class State, class In, class Visit, class Emit>
__global__ void __launch_bounds__(kThreads)
    reduce_long_rows_kernel(const In* x, std::int64_t rows, std::int64_t n, std::int64_t pieces, bool aligned,
                            Visit visit, Emit emit) {
  alignas(16) __shared__ unsigned char raw[kWarp * sizeof(State)];
  State* const shared = reinterpret_cast<State*>(raw);
  for (std::int64_t task = blockIdx.x; task < rows * pieces; task += gridDim.x) {
    const std::int64_t row = task / pieces, piece = task % pieces;
    State state;
    gather_run(state, visit, row, x, row * n, row * n + n, aligned, piece * kThreads + threadIdx.x, pieces * kThreads);
    state = merge_block(state, shared);
    if (threadIdx.x == 0) emit(task, state);
    __syncthreads();
  }
}

template <class State, class In, class Visit, class Emit>
void reduce_rows(Stream& stream, const In* x, std::int64_t rows, std::int64_t n, const Visit& visit, const Emit& emit) {
  const bool aligned = aligned16(x);
  if (n <= kWarpRow) {
    int width = 1;  // about four elements per lane
    while (width < kWarp && width * 4 < n) width *= 2;
    launch(stream, "reduce_short_rows", reduce_short_rows_kernel<State, In, Visit, Emit>,
           blocks_for(stream, rows, kThreads / width), kThreads, 0, x, rows, n, width, aligned, visit, emit);
    return;
  }
  const std::int64_t pieces = pieces_of(rows, n);
  if (pieces == 1) {
    launch(stream, "reduce_long_rows", reduce_long_rows_kernel<State, In, Visit, Emit>, blocks_for(stream, rows, 1),
           kThreads, 0, x, rows, n, pieces, aligned, visit, emit);
    return;
  }
  const Scratch<State> partial(stream, rows * pieces);
  launch(stream, "reduce_long_rows", reduce_long_rows_kernel<State, In, Visit, KeepState<State>>,
         blocks_for(stream, rows * pieces, 1), kThreads, 0, x, rows, n, pieces, aligned, visit,
         KeepState<State>{partial.data()});
  launch(stream, "reduce_long_rows", reduce_long_rows_kernel<State, State, MergeState, Emit>,
         blocks_for(stream, rows, 1), kThreads, 0, static_cast<const State*>(partial.data()), rows, pieces,
         std::int64_t{1}, true, MergeState{}, emit);
}

}  // namespace descent::gpu
