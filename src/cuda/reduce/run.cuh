// How runs of elements are distributed to threads. Every split depends on the problem's size and on positions in the
// array, never on addresses or on the device: if pointers don't allow 16-byte loads, a thread reads the same elements
// one by one, and sums have the same bits.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

// Target number of blocks, over all groups, of a reduction whose partial results a second kernel merges.
constexpr std::int64_t kReducePieces = 1024;
constexpr std::int64_t kOneBlock = 32768;   // elements that one block reduces faster than a second kernel starts
constexpr std::int64_t kPieceLeast = 8192;  // minimum elements of a piece
constexpr int kPacksAhead = 4;              // packs that a thread loads before it uses the first

// Number of pieces into which each of `groups` reductions over n elements is split.
inline std::int64_t pieces_of(std::int64_t groups, std::int64_t n) {
  if (n < kOneBlock) return 1;
  const std::int64_t wanted = divide_up(kReducePieces, groups), most = n / kPieceLeast;
  return wanted < most ? wanted : most;
}

// Splits the positions [begin, end) of an array into packs in [body, stop), which start at multiples of `pack`, and
// single elements before and after them, the edges. Short runs are edges only.
struct RunSplit {
  static constexpr std::int64_t kShort = 32;
  std::int64_t begin, body, stop, end;

  __device__ RunSplit(std::int64_t begin_, std::int64_t end_, int pack)
      : begin(begin_), body(end_), stop(end_), end(end_) {
    if (end - begin < kShort) return;
    body = (begin + pack - 1) / pack * pack;
    stop = end / pack * pack;
  }
  __device__ std::int64_t edges() const { return (body - begin) + (end - stop); }
  __device__ std::int64_t edge(std::int64_t k) const {
    return k < body - begin ? begin + k : stop + k - (body - begin);
  }
};

template <class T, int N>
__device__ Pack<T, N> load_any(const T* from, bool aligned) {
  if (aligned) return load_pack<T, N>(from);
  Pack<T, N> pack;
  for (int v = 0; v < N; ++v) pack.v[v] = from[v];
  return pack;
}

template <class T, int N>
__device__ void store_any(T* to, Pack<T, N> pack, bool aligned) {
  if (aligned) return store_pack<T, N>(to, pack);
  for (int v = 0; v < N; ++v) to[v] = pack.v[v];
}

// Calls visit(state, group, index in the run, value) for this thread's share of x[begin, end), one of `lanes` shares.
template <class State, class In, class Visit>
__device__ void gather_run(State& state, const Visit& visit, std::int64_t group, const In* x, std::int64_t begin,
                           std::int64_t end, bool aligned, std::int64_t lane, std::int64_t lanes) {
  constexpr int N = kPack<In>;
  const RunSplit run(begin, end, N);
  for (std::int64_t k = lane; k < run.edges(); k += lanes) {
    visit(state, group, run.edge(k) - begin, widen(x[run.edge(k)]));
  }
  const std::int64_t step = lanes * N;
  std::int64_t i = run.body + lane * N;
  for (; i + (kPacksAhead - 1) * step < run.stop; i += kPacksAhead * step) {
    Pack<In, N> ahead[kPacksAhead];
    for (int a = 0; a < kPacksAhead; ++a) ahead[a] = load_any<In, N>(x + i + a * step, aligned);
    for (int a = 0; a < kPacksAhead; ++a) {
      for (int v = 0; v < N; ++v) visit(state, group, i + a * step + v - begin, widen(ahead[a].v[v]));
    }
  }
  for (; i < run.stop; i += step) {
    const Pack<In, N> pack = load_any<In, N>(x + i, aligned);
    for (int v = 0; v < N; ++v) visit(state, group, i + v - begin, widen(pack.v[v]));
  }
}

}  // namespace descent::gpu
