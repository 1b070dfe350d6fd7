// The largest elements of each row, found by stable sorts of all elements: by each word of their keys, the lowest word
// first, and finally by row. Keys order numbers as top_k does: NaN first, then descending, 0 equal to -0.
#pragma once

#include <bit>

#include "cuda/runtime/launch.cuh"
#include "cuda/sort.h"

namespace descent::gpu {

// Word `word` of the key of x, 0 being the lowest. Smaller keys come first.
__device__ inline std::uint32_t descending_key(float x, int) {
  if (isnan(x)) return 0;
  const float value = x == 0 ? 0.0F : x;
  std::uint32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return (bits >> 31) != 0 ? bits : ~(bits | 0x80000000U);
}
__device__ inline std::uint32_t descending_key(double x, int word) {
  if (isnan(x)) return 0;
  const double value = x == 0 ? 0.0 : x;
  std::uint64_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  const std::uint64_t key = (bits >> 63) != 0 ? bits : ~(bits | 0x8000000000000000U);
  return static_cast<std::uint32_t>(key >> (32 * word));
}

template <class Place>
__global__ void count_up_kernel(std::int64_t n, Place* indices) {
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) indices[i] = static_cast<Place>(i);
}

// A thread per element, in the current order: writes a word of its key.
template <class T>
__global__ void top_keys_kernel(const T* x, const std::int32_t* indices, std::int64_t total, int word,
                                std::uint32_t* keys) {
  for (std::int64_t i = grid_thread(); i < total; i += grid_threads()) {
    keys[i] = descending_key(widen(x[indices[i]]), word);
  }
}

// Like top_keys_kernel, but writes the element's row.
template <class Place>
__global__ void row_keys_kernel(const Place* indices, std::int64_t total, std::int64_t n, std::uint32_t* keys) {
  for (std::int64_t i = grid_thread(); i < total; i += grid_threads()) {
    keys[i] = static_cast<std::uint32_t>(indices[i] / n);
  }
}

// A thread per element of the result: copies the first k of each row's n.
template <class T>
__global__ void take_top_kernel(const T* x, const std::int32_t* sorted, std::int64_t rows, std::int64_t n,
                                std::int64_t k, T* values, std::int32_t* indices) {
  for (std::int64_t i = grid_thread(); i < rows * k; i += grid_threads()) {
    const std::int64_t row = i / k, from = sorted[row * n + i - row * k];
    values[i] = x[from];
    indices[i] = static_cast<std::int32_t>(from - row * n);
  }
}

// x has fewer than 2^31 elements.
template <class T>
void top_k(Stream& stream, const T* x, std::int64_t rows, std::int64_t n, std::int64_t k, T* values,
           std::int32_t* indices) {
  const std::int64_t total = rows * n;
  if (total == 0 || k == 0) return;
  const dim3 grid(blocks_for(stream, total)), block(kThreads);
  const Scratch<std::uint32_t> keys(stream, total), sorted_keys(stream, total);
  const Scratch<std::int32_t> first(stream, total), second(stream, total);
  std::int32_t *now = first.data(), *next = second.data();
  const auto pass = [&](int bits) {
    sort_pairs(stream, total, bits, keys.data(), sorted_keys.data(), now, next);
    std::swap(now, next);
  };
  launch(stream, "count_up", count_up_kernel<std::int32_t>, grid, block, 0, total, now);
  for (int word = 0; word < static_cast<int>(sizeof(Wide<T>) / 4); ++word) {
    launch(stream, "top_keys", top_keys_kernel<T>, grid, block, 0, x, now, total, word, keys.data());
    pass(32);
  }
  if (rows > 1) {
    launch(stream, "row_keys", row_keys_kernel<std::int32_t>, grid, block, 0, now, total, n, keys.data());
    pass(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows - 1))));
  }
  launch(stream, "take_top", take_top_kernel<T>, dim3(blocks_for(stream, rows * k)), block, 0, x, now, rows, n, k,
         values, indices);
}

}  // namespace descent::gpu
