// dx[index[i]] += dy[i], with each row's terms in the order of i, as on the CPU and to the same bits: the pairs (index,
// i) are sorted stably, so that the terms of each row of dx form one run. No atomics.
#pragma once

#include <bit>

#include "backend/backend.h"
#include "cuda/runtime/launch.cuh"
#include "cuda/sort.h"

namespace descent::gpu {

// One thread per index: writes its key and i. Indices outside the table get the key `outside`, after all rows.
template <class Key>
__global__ void scatter_keys_kernel(const std::int32_t* index, std::int64_t count, Key outside, Key* keys,
                                    std::int32_t* numbers) {
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const std::int64_t row = index[i];
    keys[i] = row >= 0 && row < static_cast<std::int64_t>(outside) ? static_cast<Key>(row) : outside;
    numbers[i] = static_cast<std::int32_t>(i);
  }
}

// One thread per row and one more: finds where the row's run begins in the sorted keys, by binary search.
template <class Key>
__global__ void run_starts_kernel(const Key* keys, std::int64_t count, std::int64_t rows, Key outside,
                                  std::int32_t* starts) {
  for (std::int64_t row = grid_thread(); row <= rows; row += grid_threads()) {
    const Key key = row < static_cast<std::int64_t>(outside) ? static_cast<Key>(row) : outside;
    std::int64_t low = 0, high = count;  // keys before low are smaller, keys from high on are not
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (keys[middle] < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    starts[row] = static_cast<std::int32_t>(low);
  }
}

// One thread per element of dx: adds its run's elements in Wide<T>, in sequence, loading four ahead. Reads dy once, in
// pieces of a row; writes every row (overwrite) or those that have a run (accumulate).
template <class T>
__global__ void add_runs_kernel(const T* dy, const std::int32_t* numbers, const std::int32_t* starts, T* dx,
                                std::int64_t rows, std::int64_t width, bool accumulate) {
  constexpr int kAhead = 4;
  for (std::int64_t i = grid_thread(); i < rows * width; i += grid_threads()) {
    const std::int64_t row = i / width, column = i - row * width;
    std::int64_t at = starts[row];
    const std::int64_t end = starts[row + 1];
    if (accumulate && at == end) continue;
    Wide<T> sum = accumulate ? widen(dx[i]) : Wide<T>(0);
    for (; at + kAhead <= end; at += kAhead) {
      T values[kAhead];
      for (int k = 0; k < kAhead; ++k) values[k] = dy[numbers[at + k] * width + column];
      for (int k = 0; k < kAhead; ++k) sum += widen(values[k]);
    }
    for (; at < end; ++at) sum += widen(dy[numbers[at] * width + column]);
    dx[i] = narrow<T>(sum);
  }
}

template <class T>
void scatter_add_rows(Stream& stream, const T* dy, const std::int32_t* index, std::int64_t count, T* dx,
                      std::int64_t rows, std::int64_t width, Write write) {
  if (rows * width == 0) return;
  constexpr std::int64_t kMostRows = std::int64_t{1} << 31;  // that an index can address
  const auto outside = static_cast<std::uint32_t>(rows < kMostRows ? rows : kMostRows);
  Scratch<std::uint32_t> keys(stream, count), sorted_keys(stream, count);
  Scratch<std::int32_t> numbers(stream, count), sorted_numbers(stream, count), starts(stream, rows + 1);
  if (count > 0) {
    launch(stream, "scatter_keys", scatter_keys_kernel<std::uint32_t>, dim3(blocks_for(stream, count)), dim3(kThreads),
           0, index, count, outside, keys.data(), numbers.data());
    sort_pairs(stream, count, static_cast<int>(std::bit_width(outside)), keys.data(), sorted_keys.data(),
               numbers.data(), sorted_numbers.data());
  }
  launch(stream, "run_starts", run_starts_kernel<std::uint32_t>, dim3(blocks_for(stream, rows + 1)), dim3(kThreads), 0,
         sorted_keys.data(), count, rows, outside, starts.data());
  launch(stream, "add_runs", add_runs_kernel<T>, dim3(blocks_for(stream, rows * width)), dim3(kThreads), 0, dy,
         sorted_numbers.data(), starts.data(), dx, rows, width, write == Write::accumulate);
}

}  // namespace descent::gpu
