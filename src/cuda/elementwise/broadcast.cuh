// Binary arithmetic with broadcasting. The host merges axes that both operands traverse in step (core/broadcast.h); a
// thread handles one pack of the innermost axis if that divides into packs, else one element.
#pragma once

#include "backend/elementwise.h"
#include "core/broadcast.h"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

struct BroadcastWalk {
  int rank;
  std::int64_t size[Shape::kMaxRank], stride_a[Shape::kMaxRank], stride_b[Shape::kMaxRank];

  explicit BroadcastWalk(const Broadcast& from) : rank(from.rank) {
    for (int i = 0; i < Shape::kMaxRank; ++i) {
      const auto axis = static_cast<std::size_t>(i);
      size[i] = from.size[axis];
      stride_a[i] = from.stride_a[axis];
      stride_b[i] = from.stride_b[axis];
    }
  }
};

template <Binary op, class T>
__device__ T apply(T a, T b) {
  if constexpr (op == Binary::add) {
    return a + b;
  } else if constexpr (op == Binary::sub) {
    return a - b;
  } else if constexpr (op == Binary::mul) {
    return a * b;
  } else {
    return a / b;
  }
}

// N elements starting at `from`, or the first one N times if the innermost axis is broadcast.
template <int N, class T>
__device__ Pack<Wide<T>, N> load_operand(const T* from, std::int64_t inner_stride) {
  if (inner_stride != 0) return load_wide<T, N>(from);
  Pack<Wide<T>, N> all;
  const Wide<T> value = widen(*from);
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = value;
  return all;
}

// `items` packs of N elements; Index is 32 bits wide if all offsets fit, because 64-bit division is slow.
template <Binary op, int N, class Index, class T>
__global__ void binary_kernel(BroadcastWalk walk, std::int64_t items, bool accumulate, const T* a, const T* b, T* y) {
  const int last = walk.rank - 1;
  for (std::int64_t item = grid_thread(); item < items; item += grid_threads()) {
    Index rest = static_cast<Index>(item);
    std::int64_t at_a = 0, at_b = 0;
    for (int axis = last; axis >= 0; --axis) {
      const Index size = static_cast<Index>(axis == last ? walk.size[axis] / N : walk.size[axis]);
      const Index index = axis > 0 ? rest % size : rest;
      rest = axis > 0 ? rest / size : 0;
      const std::int64_t step = axis == last ? N : 1;
      at_a += static_cast<std::int64_t>(index) * step * walk.stride_a[axis];
      at_b += static_cast<std::int64_t>(index) * step * walk.stride_b[axis];
    }
    const Pack<Wide<T>, N> left = load_operand<N>(a + at_a, walk.stride_a[last]);
    const Pack<Wide<T>, N> right = load_operand<N>(b + at_b, walk.stride_b[last]);
    Pack<Wide<T>, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i) out.v[i] = apply<op>(left.v[i], right.v[i]);
    if (accumulate) {
      const Pack<Wide<T>, N> before = load_wide<T, N>(y + item * N);
#pragma unroll
      for (int i = 0; i < N; ++i) out.v[i] = before.v[i] + out.v[i];
    }
    store_narrow<T, N>(y + item * N, out);
  }
}

template <Binary op, int N, class T>
void binary_packs(Stream& stream, const BroadcastWalk& walk, std::int64_t n, const T* a, const T* b, T* y,
                  Write write) {
  const bool accumulate = write == Write::accumulate;
  const dim3 grid = blocks_for(stream, n / N);
  if (n < (std::int64_t{1} << 31)) {
    launch(stream, "binary", binary_kernel<op, N, std::uint32_t, T>, grid, kThreads, 0, walk, n / N, accumulate, a, b,
           y);
  } else {
    launch(stream, "binary", binary_kernel<op, N, std::uint64_t, T>, grid, kThreads, 0, walk, n / N, accumulate, a, b,
           y);
  }
}

template <Binary op, class T>
void binary(Stream& stream, const Broadcast& shape, const T* a, const T* b, T* y, Write write) {
  const BroadcastWalk walk(shape);
  std::int64_t n = 1;
  for (int i = 0; i < walk.rank; ++i) n *= walk.size[i];
  constexpr int N = kPack<T>;
  // If N divides the innermost size, every row begins at a multiple of N elements: strides of outer axes are multiples
  // of that size, or 0.
  const bool packed = aligned16(y) && (walk.stride_a[walk.rank - 1] == 0 || aligned16(a)) &&
                      (walk.stride_b[walk.rank - 1] == 0 || aligned16(b)) && walk.size[walk.rank - 1] % N == 0;
  if (packed) {
    binary_packs<op, N>(stream, walk, n, a, b, y, write);
  } else {
    binary_packs<op, 1>(stream, walk, n, a, b, y, write);
  }
}

template <class T>
void binary(Stream& stream, Binary op, const Broadcast& shape, const T* a, const T* b, T* y, Write write) {
  switch (op) {
    case Binary::add:
      return binary<Binary::add>(stream, shape, a, b, y, write);
    case Binary::sub:
      return binary<Binary::sub>(stream, shape, a, b, y, write);
    case Binary::mul:
      return binary<Binary::mul>(stream, shape, a, b, y, write);
    case Binary::div:
      return binary<Binary::div>(stream, shape, a, b, y, write);
  }
}

}  // namespace descent::gpu
