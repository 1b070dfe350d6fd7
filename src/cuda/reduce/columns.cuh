// Column reductions: a group's n elements have stride `inner` in one of `outer` matrices. Consecutive threads take
// consecutive columns, so that a warp's loads coalesce; the block's remaining threads take other rows. If columns are
// few and rows many, the rows are split into pieces, whose states a second kernel merges in order.
#pragma once

#include "cuda/reduce/run.cuh"
#include "cuda/reduce/state.cuh"

namespace descent::gpu {

constexpr std::int64_t kFewRows = 32;         // up to this many, a thread reduces a column alone
constexpr std::int64_t kManyColumns = 16384;  // enough threads to fill a device

struct ColumnTiles {
  std::int64_t outer, n, inner;
  std::int64_t packs;   // of V columns, per matrix row
  std::int64_t tiles;   // per matrix row
  std::int64_t width;   // packs per tile: consecutive threads
  std::int64_t rows;    // that a block takes at once
  std::int64_t pieces;  // blocks that share a tile's rows

  ColumnTiles(std::int64_t outer_, std::int64_t n_, std::int64_t inner_, int V) : outer(outer_), n(n_), inner(inner_) {
    packs = inner / V;
    tiles = divide_up(packs, V == 1 ? 64 : 32);
    width = divide_up(packs, tiles);
    tiles = divide_up(packs, width);
    rows = kThreads / width;
    pieces = pieces_of(outer * tiles, n * width * V);
  }
};

// A block of 256 threads takes a tile of `width` packs of V columns, `rows` rows at a time with stride rows * pieces.
// The states of the block's rows are merged pairwise in shared memory. emit gets the index
// (o * pieces + piece) * inner + column. Reads every element once.
template <class State, int V, class In, class Visit, class Emit>
__global__ void __launch_bounds__(kThreads, 1)
    reduce_columns_kernel(const In* x, ColumnTiles c, bool aligned, Visit visit, Emit emit) {
  alignas(16) __shared__ unsigned char raw[kThreads * V * sizeof(State)];
  State* const shared = reinterpret_cast<State*>(raw) + threadIdx.x;  // this thread's V states, kThreads apart
  const int width = static_cast<int>(c.width), rows = static_cast<int>(c.rows);
  const int pack = static_cast<int>(threadIdx.x) % width, row = static_cast<int>(threadIdx.x) / width;
  for (std::int64_t task = blockIdx.x; task < c.outer * c.pieces * c.tiles; task += gridDim.x) {
    const std::int64_t matrix = task / c.tiles, o = matrix / c.pieces, piece = matrix % c.pieces;
    const std::int64_t column = (task % c.tiles * c.width + pack) * V;
    const bool active = row < rows && column < c.inner;
    State state[V];
    if (active) {
      const In* const from = x + o * c.n * c.inner + column;
      const std::int64_t group = o * c.inner + column, step = c.pieces * rows;
      std::int64_t i = piece * rows + row;
      for (; i + (kPacksAhead - 1) * step < c.n; i += kPacksAhead * step) {
        Pack<In, V> ahead[kPacksAhead];
        for (int a = 0; a < kPacksAhead; ++a) ahead[a] = load_any<In, V>(from + (i + a * step) * c.inner, aligned);
        for (int a = 0; a < kPacksAhead; ++a) {
          for (int v = 0; v < V; ++v) visit(state[v], group + v, i + a * step, widen(ahead[a].v[v]));
        }
      }
      for (; i < c.n; i += step) {
        const Pack<In, V> values = load_any<In, V>(from + i * c.inner, aligned);
        for (int v = 0; v < V; ++v) visit(state[v], group + v, i, widen(values.v[v]));
      }
    }
    for (int v = 0; v < V; ++v) shared[v * kThreads] = state[v];
    for (int live = rows, half = (rows + 1) / 2; live > 1; live = half, half = (half + 1) / 2) {
      __syncthreads();
      if (active && row < live - half) {
        for (int v = 0; v < V; ++v) shared[v * kThreads].merge(shared[v * kThreads + half * width]);
      }
    }
    if (active && row == 0) {
      for (int v = 0; v < V; ++v) emit(matrix * c.inner + column + v, shared[v * kThreads]);
    }
    __syncthreads();
  }
}

// A thread reduces V adjacent columns of a matrix alone. Reads every element once.
template <class State, int V, class In, class Visit, class Emit>
__global__ void __launch_bounds__(kThreads)
    reduce_few_rows_kernel(const In* x, std::int64_t outer, std::int64_t n, std::int64_t inner, bool aligned,
                           Visit visit, Emit emit) {
  for (std::int64_t task = grid_thread(); task * V < outer * inner; task += grid_threads()) {
    const std::int64_t group = task * V, o = group / inner;
    const In* from = x + o * n * inner + group % inner;
    State state[V];
    for (std::int64_t i = 0; i < n; ++i, from += inner) {
      const Pack<In, V> values = load_any<In, V>(from, aligned);
      for (int v = 0; v < V; ++v) visit(state[v], group + v, i, widen(values.v[v]));
    }
    for (int v = 0; v < V; ++v) emit(group + v, state[v]);
  }
}

template <class State, int V, class In, class Visit, class Emit>
void reduce_column_packs(Stream& stream, const In* x, std::int64_t outer, std::int64_t n, std::int64_t inner,
                         const Visit& visit, const Emit& emit) {
  const bool aligned = V == 1 || aligned16(x);
  const ColumnTiles tiles(outer, n, inner, V);
  if (n <= kFewRows || (n <= 2 * tiles.rows && outer * tiles.packs >= kManyColumns)) {
    launch(stream, "reduce_few_rows", reduce_few_rows_kernel<State, V, In, Visit, Emit>,
           blocks_for(stream, outer * tiles.packs), kThreads, 0, x, outer, n, inner, aligned, visit, emit);
    return;
  }
  const unsigned blocks = blocks_for(stream, outer * tiles.pieces * tiles.tiles, 1);
  if (tiles.pieces == 1) {
    launch(stream, "reduce_columns", reduce_columns_kernel<State, V, In, Visit, Emit>, blocks, kThreads, 0, x, tiles,
           aligned, visit, emit);
    return;
  }
  const Scratch<State> partial(stream, outer * tiles.pieces * inner);
  launch(stream, "reduce_columns", reduce_columns_kernel<State, V, In, Visit, KeepState<State>>, blocks, kThreads, 0, x,
         tiles, aligned, visit, KeepState<State>{partial.data()});
  ColumnTiles merged(outer, tiles.pieces, inner, 1);
  merged.pieces = 1;
  launch(stream, "reduce_columns", reduce_columns_kernel<State, 1, State, MergeState, Emit>,
         blocks_for(stream, outer * merged.tiles, 1), kThreads, 0, static_cast<const State*>(partial.data()), merged,
         true, MergeState{}, emit);
}

template <class State, class In, class Visit, class Emit>
void reduce_columns(Stream& stream, const In* x, std::int64_t outer, std::int64_t n, std::int64_t inner,
                    const Visit& visit, const Emit& emit) {
  // With few rows the results are much of the traffic; with one column per thread their stores coalesce.
  if (inner % kPack<In> == 0 && n > 4) {
    reduce_column_packs<State, kPack<In>>(stream, x, outer, n, inner, visit, emit);
  } else {
    reduce_column_packs<State, 1>(stream, x, outer, n, inner, visit, emit);
  }
}

}  // namespace descent::gpu
