// Gradient of a maximum: in each group, the first element equal to y (the first NaN if y is NaN) receives dy. The rest
// of dx becomes 0 or, when accumulating, does not change.
#pragma once

#include "cuda/reduce/axes.cuh"

namespace descent::gpu {

// A thread processes a group, which has few elements, alone. Reads x and writes dx once.
template <class T>
__global__ void __launch_bounds__(kThreads)
    max_backward_few_rows_kernel(const T* x, const T* y, const T* dy, std::int64_t outer, std::int64_t n,
                                 std::int64_t inner, T* dx, Write write) {
  const AddEqual<T> visit{y};
  for (std::int64_t group = grid_thread(); group < outer * inner; group += grid_threads()) {
    const std::int64_t start = group / inner * n * inner + group % inner;
    FirstState state;
    for (std::int64_t i = 0; i < n; ++i) visit(state, group, i, widen(x[start + i * inner]));
    const std::int64_t first = state.value();
    if (write == Write::overwrite) {
      for (std::int64_t i = 0; i < n; ++i) dx[start + i * inner] = i == first ? dy[group] : narrow<T>(0);
    } else if (first >= 0) {
      T& to = dx[start + first * inner];
      to = narrow<T>(widen(to) + widen(dy[group]));
    }
  }
}

// A thread per 16 bytes if dx is aligned.
template <class T>
__global__ void __launch_bounds__(kThreads) max_backward_zero_kernel(T* dx, std::int64_t n, bool aligned) {
  constexpr int N = kPack<T>;
  const std::int64_t body = aligned ? n / N * N : 0;
  for (std::int64_t i = grid_thread() * N; i < body; i += grid_threads() * N) store_pack<T, N>(dx + i, Pack<T, N>{});
  for (std::int64_t i = body + grid_thread(); i < n; i += grid_threads()) dx[i] = narrow<T>(0);
}

// A thread per group adds dy to the element of its maximum.
template <class T>
__global__ void __launch_bounds__(kThreads)
    max_backward_place_kernel(const std::int64_t* first, const T* dy, std::int64_t groups, std::int64_t n,
                              std::int64_t inner, T* dx) {
  for (std::int64_t group = grid_thread(); group < groups; group += grid_threads()) {
    if (first[group] < 0) continue;
    T& to = dx[(group / inner * n + first[group]) * inner + group % inner];
    to = narrow<T>(widen(to) + widen(dy[group]));
  }
}

template <class T>
void max_backward(Stream& stream, const T* x, const T* y, const T* dy, std::int64_t outer, std::int64_t n,
                  std::int64_t inner, T* dx, Write write) {
  const std::int64_t groups = outer * inner;
  if (groups == 0 || n == 0) return;
  if (n <= kFewRows) {
    launch(stream, "max_backward", max_backward_few_rows_kernel<T>, blocks_for(stream, groups), kThreads, 0, x, y, dy,
           outer, n, inner, dx, write);
    return;
  }
  const Scratch<std::int64_t> first(stream, groups);
  reduce_groups<FirstState>(stream, x, outer, n, inner, AddEqual<T>{y}, WritePlain<std::int64_t>{first.data()});
  if (write == Write::overwrite) {
    launch(stream, "max_backward_zero", max_backward_zero_kernel<T>,
           blocks_for(stream, groups * n, kThreads * kPack<T>), kThreads, 0, dx, groups * n, aligned16(dx));
  }
  launch(stream, "max_backward_place", max_backward_place_kernel<T>, blocks_for(stream, groups), kThreads, 0,
         static_cast<const std::int64_t*>(first.data()), dy, groups, n, inner, dx);
}

}  // namespace descent::gpu
