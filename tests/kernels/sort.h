// What launchers sort and count with under the SIMT shim: standard algorithms on host memory. Under nvcc it is the
// library's own (src/cuda/sort.cu).
#pragma once

#include "cuda/sort.h"

#if defined(DESCENT_SIMT)

#include <algorithm>
#include <numeric>
#include <vector>

namespace descent::gpu {

inline void sort_pairs(Queue&, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                       const std::int32_t* values, std::int32_t* sorted_values) {
  const std::uint32_t mask = bits == 32 ? ~0U : (1U << bits) - 1;
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
  for (std::int64_t i = 0; i < n; ++i) {
    sorted_keys[i] = keys[order[static_cast<std::size_t>(i)]];
    sorted_values[i] = values[order[static_cast<std::size_t>(i)]];
  }
}

inline void sort_by_key(Queue& q, std::int64_t n, std::uint32_t* keys, std::int32_t* values) {
  const std::vector<std::uint32_t> keys_before(keys, keys + n);
  const std::vector<std::int32_t> values_before(values, values + n);
  sort_pairs(q, n, 32, keys_before.data(), keys, values_before.data(), values);
}

inline void add_counts(Queue&, std::int64_t n, std::uint32_t* keys, std::int64_t cells, std::int32_t* counts) {
  std::sort(keys, keys + n);
  for (std::int64_t i = 0; i < n; ++i) {
    if (keys[i] < cells) ++counts[keys[i]];
  }
}

}  // namespace descent::gpu

#endif
