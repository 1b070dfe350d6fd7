// How often each pair of numbers occurs: pairs are sorted, so that equal ones are a run, and the lengths of the runs
// are added to the counts. Whole numbers, no atomics.
#pragma once

#include "cuda/kernels/index_scatter.cuh"

namespace descent::gpu {

// A thread per pair: its cell of [rows, columns], or the one behind all of them. Null rows: all pairs are in row 0.
template <class Key>
__global__ void pair_keys_kernel(const std::int32_t* row, const std::int32_t* column, std::int64_t n, std::int64_t rows,
                                 std::int64_t columns, Key* keys, std::int32_t* numbers) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const std::int64_t r = row != nullptr ? row[i] : 0, c = column[i];
    const bool inside = r >= 0 && r < rows && c >= 0 && c < columns;
    keys[i] = static_cast<Key>(inside ? r * columns + c : rows * columns);
    numbers[i] = static_cast<std::int32_t>(i);
  }
}

// A thread per cell adds the length of its run.
template <class Count>
__global__ void add_run_lengths_kernel(const std::int32_t* starts, std::int64_t cells, Count* counts) {
  for (std::int64_t i = grid_thread(); i < cells; i += grid_threads()) {
    counts[i] += static_cast<Count>(starts[i + 1] - starts[i]);
  }
}

// `sort` as DeviceSort of index_sort.cuh; fewer than 2^31 cells.
template <class Sort>
void count_pairs(Queue& q, const Sort& sort, const std::int32_t* row, const std::int32_t* column, std::int64_t n,
                 std::int32_t* counts, std::int64_t rows, std::int64_t columns) {
  const std::int64_t cells = rows * columns;
  if (n == 0 || cells == 0) return;
  const auto outside = static_cast<std::uint32_t>(cells);
  const Scratch<std::uint32_t> keys(q, n), sorted_keys(q, n);
  const Scratch<std::int32_t> numbers(q, n), sorted_numbers(q, n), starts(q, cells + 1);
  launch(q, "pair_keys", pair_keys_kernel<std::uint32_t>, dim3(blocks_for(q, n)), dim3(kThreads), 0, row, column, n,
         rows, columns, keys.data(), numbers.data());
  sort(q, n, static_cast<int>(std::bit_width(outside)), keys.data(), sorted_keys.data(), numbers.data(),
       sorted_numbers.data());
  launch(q, "run_starts", run_starts_kernel<std::uint32_t>, dim3(blocks_for(q, cells + 1)), dim3(kThreads), 0,
         sorted_keys.data(), n, cells, outside, starts.data());
  launch(q, "add_run_lengths", add_run_lengths_kernel<std::int32_t>, dim3(blocks_for(q, cells)), dim3(kThreads), 0,
         starts.data(), cells, counts);
}

}  // namespace descent::gpu
