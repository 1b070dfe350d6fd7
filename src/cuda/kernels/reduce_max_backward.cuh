// The gradient of a maximum: dy goes to the first element of each group that equals y, NaN to the first NaN; the rest
// of dx is 0 or stays as it is.
#pragma once

#include "cuda/kernels/reduce_axes.cuh"

namespace descent::gpu {

// A thread takes a group of few elements alone. Reads x and writes dx once.
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

// 16 bytes to a thread where dx is aligned.
template <class T>
__global__ void __launch_bounds__(kThreads) max_backward_zero_kernel(T* dx, std::int64_t n, bool aligned) {
  constexpr int N = kPack<T>;
  const std::int64_t body = aligned ? n / N * N : 0;
  for (std::int64_t i = grid_thread() * N; i < body; i += grid_threads() * N) store_pack<T, N>(dx + i, Pack<T, N>{});
  for (std::int64_t i = body + grid_thread(); i < n; i += grid_threads()) dx[i] = narrow<T>(0);
}

// A thread takes a group's one element.
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
void max_backward(Queue& q, const T* x, const T* y, const T* dy, std::int64_t outer, std::int64_t n, std::int64_t inner,
                  T* dx, Write write) {
  const std::int64_t groups = outer * inner;
  if (groups == 0 || n == 0) return;
  if (n <= kFewRows) {
    launch(q, "max_backward", max_backward_few_rows_kernel<T>, blocks_for(q, groups), kThreads, 0, x, y, dy, outer, n,
           inner, dx, write);
    return;
  }
  const Scratch<std::int64_t> first(q, groups);
  reduce_groups<FirstState>(q, x, outer, n, inner, AddEqual<T>{y}, WritePlain<std::int64_t>{first.data()});
  if (write == Write::overwrite) {
    launch(q, "max_backward_zero", max_backward_zero_kernel<T>, blocks_for(q, groups * n, kThreads * kPack<T>),
           kThreads, 0, dx, groups * n, aligned16(dx));
  }
  launch(q, "max_backward_place", max_backward_place_kernel<T>, blocks_for(q, groups), kThreads, 0,
         static_cast<const std::int64_t*>(first.data()), dy, groups, n, inner, dx);
}

}  // namespace descent::gpu
