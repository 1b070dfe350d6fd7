// The reductions of backend.h on a device. Each is a state (reduce_state.cuh) that the two shapes of loops, rows and
// columns, gather over pieces that depend on the problem's size alone, and merge in a fixed order.
#pragma once

#include <bit>
#include <cmath>

#include "cuda/kernels/reduce_axes.cuh"
#include "cuda/kernels/reduce_max_backward.cuh"
#include "cuda/kernels/reduce_top_k.cuh"

namespace descent::gpu {

// Y: T, or float beside bf16.
template <class T, class Y>
void reduce(Queue& q, Reduction op, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Y* y,
            Write write) {
  if (op == Reduction::max) {
    return reduce_groups<MaximumState<Wide<T>>>(q, x, outer, n, inner, AddValue{}, WriteValue<Y>{y, 1, write});
  }
  using V = Wide<T>;
  const bool mean = op == Reduction::mean;
  const int halvings = mean && n > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1))) : 0;
  const V scale = std::ldexp(V(1), -halvings);
  reduce_groups<Sum<V>>(q, x, outer, n, inner, AddScaled<V>{scale},
                        WriteValue<Y>{y, static_cast<Wide<Y>>(mean ? static_cast<V>(n) * scale : V(1)), write});
}

template <class T, class Y>
void sum_to(Queue& q, const T* x, const Shape& from, const Shape& to, Y* y, Write write) {
  if (to.numel() != 0)
    sum_axes<Sum<Wide<T>>>(q, x, SumAxes(from, to), AddScaled<Wide<T>>{1}, WriteValue<Y>{y, 1, write});
}

template <class T>
void argmax_rows(Queue& q, const T* x, std::int64_t rows, std::int64_t n, std::int32_t* y) {
  if (rows != 0) reduce_rows<ArgmaxState<Wide<T>>>(q, x, rows, n, AddPlace{}, WritePlain<std::int32_t>{y});
}

template <class T>
void sum_of_squares(Queue& q, const T* x, std::int64_t n, double* y) {
  reduce_rows<WideSum<Wide<T>>>(q, x, 1, n, AddSquare{}, WritePlain<double>{y});
}

template <class T>
void first_nonfinite(Queue& q, const T* x, std::int64_t n, double* y) {
  reduce_rows<FirstState>(q, x, 1, n, AddNonfinite{}, WritePlain<double>{y});
}

}  // namespace descent::gpu
