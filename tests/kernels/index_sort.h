// The sort that launchers take, for tests: a standard one on host memory under the SIMT shim, the device's under nvcc.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda/kernels/index_sort.cuh"

namespace descent::gpu {

#if defined(DESCENT_SIMT)

struct TestSort {
  void operator()(Queue&, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                  const std::int32_t* values, std::int32_t* sorted_values) const {
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
};

#else

using TestSort = DeviceSort;

#endif

}  // namespace descent::gpu
