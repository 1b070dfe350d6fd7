// The sort that launchers of the index and random families take as an argument: on the device CUB's, in tests of the
// kernels on the CPU a standard one.
#pragma once

#include <cstdint>

#include "cuda/launch.cuh"

namespace descent::gpu {

// Sorts n pairs, stably, by the lowest `bits` bits of the key; n up to 2^31 - 1. Defined in src/cuda/index.cu.
struct DeviceSort {
  void operator()(Queue& q, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                  const std::int32_t* values, std::int32_t* sorted_values) const;
};

}  // namespace descent::gpu
