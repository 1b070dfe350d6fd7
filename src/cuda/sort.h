// Sorting and counting on the device with NVIDIA's own algorithms, on the given stream and with its memory, so that
// they neither synchronize nor allocate from the system. sort.cu says which library does what.
#pragma once

#include <cstdint>

#include "cuda/runtime/stream.h"

namespace descent::gpu {

// All functions accept up to 2^31 - 1 elements and throw InvalidArgument for more.

// Sorts pairs, stably, by the lowest `bits` bits of the key; fewer bits are faster.
void sort_pairs(Stream& stream, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                const std::int32_t* values, std::int32_t* sorted_values);
// Sorts values, stably, by their keys; both in place.
void sort_by_key(Stream& stream, std::int64_t n, std::uint32_t* keys, std::int32_t* values);
// counts[k] += the number of keys equal to k, for k < cells; other keys are ignored. Leaves the keys sorted.
void add_counts(Stream& stream, std::int64_t n, std::uint32_t* keys, std::int64_t cells, std::int32_t* counts);

}  // namespace descent::gpu
