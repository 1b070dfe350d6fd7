// Self-advancing device cursors: a position in device memory is read, used and advanced, so that a captured step
// continues where its last replay ended. One block does all of it and reads the position before it advances it.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

constexpr int kNextThreads = 1024;  // one block for all indices of a batch

// One block, whose threads stride over the batch's indices. Reads and writes 4 bytes per index.
template <class Number>
__global__ void next_rows_kernel(const Number* order, std::int64_t n, Number* position, Number* index,
                                 std::int64_t count) {
  const std::int64_t first = *position;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const std::int64_t at = first + i;
    index[i] = at >= 0 && at < n ? order[at] : -1;
  }
  __syncthreads();
  if (threadIdx.x == 0) *position = static_cast<Number>(first + count < n ? first + count : n);
}

// One thread: copies one element.
template <class T>
__global__ void store_next_kernel(const T* x, std::int32_t* position, double* slots, std::int64_t n) {
  const std::int64_t at = *position;
  if (at < 0 || at >= n) return;
  slots[at] = static_cast<double>(*x);
  *position = static_cast<std::int32_t>(at + 1);
}

inline void next_rows(Stream& stream, const std::int32_t* order, std::int64_t n, std::int32_t* position,
                      std::int32_t* index, std::int64_t count) {
  const std::int64_t threads = divide_up(count < kNextThreads ? (count < 1 ? 1 : count) : kNextThreads, kWarp) * kWarp;
  launch(stream, "next_rows", next_rows_kernel<std::int32_t>, dim3(1), dim3(static_cast<unsigned>(threads)), 0, order,
         n, position, index, count);
}

template <class T>
void store_next(Stream& stream, const T* x, std::int32_t* position, double* slots, std::int64_t n) {
  launch(stream, "store_next", store_next_kernel<T>, dim3(1), dim3(1), 0, x, position, slots, n);
}

}  // namespace descent::gpu
