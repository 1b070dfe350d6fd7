// The reductions of the backend interface. Each is a state (state.cuh) that row or column loops accumulate over pieces,
// which depend on the problem's size alone, and merge in a fixed order.
#pragma once

#include <bit>
#include <cmath>

#include "cuda/reduce/axes.cuh"
#include "cuda/reduce/max_backward.cuh"
#include "cuda/reduce/top_k.cuh"

namespace descent::gpu {

// Y: T, or float if T is bf16.
template <class T, class Y>
void reduce(Stream& stream, ReduceOp op, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Y* y,
            Write write) {
  if (op == ReduceOp::max) {
    return reduce_groups<MaximumState<Wide<T>>>(stream, x, outer, n, inner, AddValue{}, WriteValue<Y>{y, 1, write});
  }
  using V = Wide<T>;
  const bool mean = op == ReduceOp::mean;
  const int halvings = mean && n > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1))) : 0;
  const V scale = std::ldexp(V(1), -halvings);
  reduce_groups<Sum<V>>(stream, x, outer, n, inner, AddScaled<V>{scale},
                        WriteValue<Y>{y, static_cast<Wide<Y>>(mean ? static_cast<V>(n) * scale : V(1)), write});
}

template <class T, class Y>
void sum_to(Stream& stream, const T* x, const Shape& from, const Shape& to, Y* y, Write write) {
  if (to.numel() != 0)
    sum_axes<Sum<Wide<T>>>(stream, x, SumAxes(from, to), AddScaled<Wide<T>>{1}, WriteValue<Y>{y, 1, write});
}

template <class T>
void argmax_rows(Stream& stream, const T* x, std::int64_t rows, std::int64_t n, std::int32_t* y) {
  if (rows != 0) reduce_rows<ArgmaxState<Wide<T>>>(stream, x, rows, n, AddPlace{}, WritePlain<std::int32_t>{y});
}

template <class T>
void sum_of_squares(Stream& stream, const T* x, std::int64_t n, double* y) {
  reduce_rows<WideSum<Wide<T>>>(stream, x, 1, n, AddSquare{}, WritePlain<double>{y});
}

}  // namespace descent::gpu
