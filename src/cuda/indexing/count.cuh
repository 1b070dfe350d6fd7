// Counts how often each pair of indices occurs: pairs become keys, which are counted. Integers, no atomics.
#pragma once

#include "cuda/runtime/launch.cuh"
#include "cuda/sort.h"

namespace descent::gpu {

// One thread per pair: writes the index of its cell in [rows, columns], or rows * columns if it is outside. If row is
// null, all pairs are in row 0.
template <class Key>
__global__ void pair_keys_kernel(const std::int32_t* row, const std::int32_t* column, std::int64_t n, std::int64_t rows,
                                 std::int64_t columns, Key* keys) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const std::int64_t r = row != nullptr ? row[i] : 0, c = column[i];
    const bool inside = r >= 0 && r < rows && c >= 0 && c < columns;
    keys[i] = static_cast<Key>(inside ? r * columns + c : rows * columns);
  }
}

// Fewer than 2^31 cells.
inline void count_pairs(Stream& stream, const std::int32_t* row, const std::int32_t* column, std::int64_t n,
                        std::int32_t* counts, std::int64_t rows, std::int64_t columns) {
  const std::int64_t cells = rows * columns;
  if (n == 0 || cells == 0) return;
  const Scratch<std::uint32_t> keys(stream, n);
  launch(stream, "pair_keys", pair_keys_kernel<std::uint32_t>, dim3(blocks_for(stream, n)), dim3(kThreads), 0, row,
         column, n, rows, columns, keys.data());
  add_counts(stream, n, keys.data(), cells, counts);
}

}  // namespace descent::gpu
