// Splits passes over [rows, channels] into jobs of one block each: a tile of channels by a chunk of rows. A thread
// keeps its channels and loops over its rows, so per-channel values stay in registers. The split depends on the sizes
// alone: sums merged in this order have the same bits in every run.
#pragma once

#include "cuda/accumulate.cuh"

namespace descent::gpu {

struct NormColumns {
  std::int64_t rows, groups;  // a group: the adjacent channels of one thread
  std::int64_t tiles, chunks, chunk_rows, jobs;
  int tile, row_lanes;  // a block processes `tile` groups of row_lanes rows at a time
};

constexpr std::int64_t kNormTile = 32;        // maximum groups per tile
constexpr std::int64_t kNormRowsPerLane = 4;  // minimum, if there are enough rows
constexpr std::int64_t kNormMostJobs = 1024;  // approximate maximum
constexpr std::int64_t kNormFewParts = 4;     // maximum that one thread merges alone

// Tiles have equal widths (up to rounding), not powers of two: 33 groups are split into 17 and 16; for 3 groups, a
// block covers 85 rows at a time.
inline NormColumns norm_columns(std::int64_t rows, std::int64_t groups) {
  NormColumns c{};
  c.rows = rows;
  c.groups = groups;
  c.tiles = divide_up(groups, kNormTile);
  if (c.tiles == 0) return c;
  c.tile = static_cast<int>(divide_up(groups, c.tiles));
  c.row_lanes = kThreads / c.tile;
  const std::int64_t chunks_wanted = c.tiles < kNormMostJobs ? kNormMostJobs / c.tiles : 1;
  const std::int64_t shared_out = divide_up(divide_up(rows, chunks_wanted), c.row_lanes);
  c.chunk_rows = (shared_out > kNormRowsPerLane ? shared_out : kNormRowsPerLane) * c.row_lanes;
  c.chunks = divide_up(rows, c.chunk_rows);
  c.jobs = c.tiles * c.chunks;
  return c;
}

// This thread's share of a job: rows row, row + row_lanes, ... below end, of one group.
struct NormPlace {
  std::int64_t group, chunk, row, end, count;  // count: number of these rows
  bool inside;                                 // false: this thread has no group and no rows
  bool first_lane;                             // writes its group's result
};

__device__ inline NormPlace norm_place(const NormColumns& c, std::int64_t job) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread / c.tile;
  NormPlace p;
  p.chunk = job / c.tiles;
  p.group = job % c.tiles * c.tile + thread % c.tile;
  p.inside = lane < c.row_lanes && p.group < c.groups;
  p.first_lane = p.inside && lane == 0;
  const std::int64_t begin = p.chunk * c.chunk_rows, left = c.rows - begin;
  p.end = begin + (left < c.chunk_rows ? left : c.chunk_rows);
  p.row = begin + lane;
  p.count = p.inside && p.row < p.end ? (p.end - p.row + c.row_lanes - 1) / c.row_lanes : 0;
  return p;
}

// Calls body.use(row, body.load(row)) for p's rows in order; issues Body::kInFlight loads before it uses the first.
template <class Body>
__device__ void walk_rows(const NormColumns& c, const NormPlace& p, Body& body) {
  constexpr int kInFlight = Body::kInFlight;
  std::int64_t row = p.row, left = p.count;
  for (; left >= kInFlight; left -= kInFlight, row += kInFlight * c.row_lanes) {
    typename Body::Item items[kInFlight];
    for (int i = 0; i < kInFlight; ++i) items[i] = body.load(row + i * c.row_lanes);
    for (int i = 0; i < kInFlight; ++i) body.use(row + i * c.row_lanes, items[i]);
  }
  for (; left > 0; --left, row += c.row_lanes) body.use(row, body.load(row));
}

// Merges the states of a group's row lanes; the result is valid in the group's first lane. Every thread of the block
// must call this. `shared` holds one state per thread and may be reused immediately after.
template <class State>
__device__ State merge_row_lanes(const NormColumns& c, const State& state, State* shared) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread / c.tile;
  shared[thread] = state;
  __syncthreads();
  for (int lanes = c.row_lanes; lanes > 1;) {
    const int half = (lanes + 1) / 2;
    if (lane + half < lanes) shared[thread].merge(shared[thread + half * c.tile]);
    lanes = half;
    __syncthreads();
  }
  const State merged = shared[thread];
  __syncthreads();
  return merged;
}

// Launches a pass over c: a block takes jobs blockIdx.x, blockIdx.x + gridDim.x, ... `state`: size of the state that
// each thread merges, or 0.
template <class... P, class... A>
void launch_columns(Stream& stream, const char* name, void (*kernel)(NormColumns, P...), const NormColumns& c,
                    std::size_t state, A... args) {
  launch(stream, name, kernel, dim3(blocks_for(stream, c.jobs, 1)), dim3(kThreads), kThreads * state, c, args...);
}

// The threads that merge the parts of a channel: one thread if the parts are few, a block if they are many.
struct MergeTeam {
  std::int64_t first, step;  // this team's channels: first, first + step, ...
  int member, size;          // member m takes parts m, m + size, ...

  __device__ explicit MergeTeam(bool block) {
    first = block ? static_cast<std::int64_t>(blockIdx.x) : grid_thread();
    step = block ? static_cast<std::int64_t>(gridDim.x) : grid_threads();
    member = block ? static_cast<int>(threadIdx.x) : 0;
    size = block ? static_cast<int>(blockDim.x) : 1;
  }
  // The team's merged state, valid in member 0. `shared` holds 32 states and may be reused immediately after.
  template <class State>
  __device__ State merge(State state, State* shared) const {
    if (size == 1) return state;
    state = merge_block(state, shared);
    __syncthreads();
    return state;
  }
};

// Launches a team per channel to merge its `chunks` parts. The kernel's first parameter says whether a team is a block.
template <class... P, class... A>
void launch_merges(Stream& stream, const char* name, void (*kernel)(bool, P...), std::int64_t channels,
                   std::int64_t chunks, std::size_t state, A... args) {
  if (chunks <= kNormFewParts) {
    launch(stream, name, kernel, dim3(blocks_for(stream, channels)), dim3(kThreads), 0, false, args...);
  } else {
    const int threads = chunks <= 2 * kWarp ? kWarp : 4 * kWarp;
    launch(stream, name, kernel, dim3(blocks_for(stream, channels, 1)), dim3(threads), kWarp * state, true, args...);
  }
}

// x, y, dy and dx have type T; parameters, statistics and arithmetic have type Wide<T>.
//
// kN: how many adjacent channels a thread takes at once. kAligned: whether it may load and store them in 16-byte
// accesses. Addresses affect kAligned only: what a thread sums, and so the bits of the sums, depends on sizes alone.
template <int kN_, bool kAligned_>
struct NormWidth {
  static constexpr int kN = kN_;
  static constexpr bool kAligned = kAligned_;
};

template <class T, class W>
__device__ Pack<Wide<T>, W::kN> load_group(const T* from) {
  if constexpr (W::kAligned) {
    return widen_pack<T, W::kN>(load_long<T, W::kN>(from));
  } else {
    Pack<Wide<T>, W::kN> group;
    for (int v = 0; v < W::kN; ++v) group.v[v] = widen(from[v]);
    return group;
  }
}

template <class T, class W>
__device__ void store_group(T* to, Pack<Wide<T>, W::kN> group) {
  if constexpr (W::kAligned) {
    store_narrow<T, W::kN>(to, group);
  } else {
    for (int v = 0; v < W::kN; ++v) to[v] = narrow<T>(group.v[v]);
  }
}

// store_group at index n, counted in groups. Indexing packs keeps the alignment visible to nvcc, which otherwise may
// store element by element.
template <class T, class W>
__device__ void store_nth_group(T* to, std::int64_t n, Pack<Wide<T>, W::kN> group) {
  if constexpr (W::kAligned) {
    static_assert(W::kN <= kPack<T>);
    reinterpret_cast<Pack<T, W::kN>*>(to)[n] = narrow_pack<T, W::kN>(group);
  } else {
    store_group<T, W>(to + n * W::kN, group);
  }
}

// A thread's elements of an array [channels], or `otherwise` if it is null. If W::kAligned, the array is 16-byte
// aligned; so are slices of scratch memory, because their lengths are then multiples of W::kN.
template <class T, class W>
__device__ Pack<T, W::kN> channel_values(const T* from, std::int64_t channel, T otherwise) {
  if (from != nullptr) return load_group<T, W>(from + channel);
  Pack<T, W::kN> values;
  for (int v = 0; v < W::kN; ++v) values.v[v] = otherwise;
  return values;
}

// Calls f(NormWidth): 16 bytes of channels if their number is a multiple of that, else one channel.
template <class T, class F, class... Pointers>
void with_norm_width(std::int64_t channels, F&& f, const Pointers*... pointers) {
  if (channels % kPack<T> != 0) {
    f(NormWidth<1, false>());
  } else if (aligned16(pointers...)) {
    f(NormWidth<kPack<T>, true>());
  } else {
    f(NormWidth<kPack<T>, false>());
  }
}

}  // namespace descent::gpu
