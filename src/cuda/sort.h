// Sorting and counting on the device: NVIDIA's own algorithms, on the queue's stream and with its memory, so that they
// neither wait for the host nor ask the system for memory. sort.cu says which library does what.
#pragma once

#include <cstdint>

#include "cuda/queue.h"

namespace descent::gpu {

// All of them take up to 2^31 - 1 elements and throw InvalidArgument for more.

// Sorts pairs, stably, by the lowest `bits` bits of the key: the fewer, the faster.
void sort_pairs(Queue& q, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                const std::int32_t* values, std::int32_t* sorted_values);
// Sorts values, stably, by their keys; both in place.
void sort_by_key(Queue& q, std::int64_t n, std::uint32_t* keys, std::int32_t* values);
// counts[k] += how many of the n keys are k, for k < cells; other keys count nothing. Leaves the keys sorted.
void add_counts(Queue& q, std::int64_t n, std::uint32_t* keys, std::int64_t cells, std::int32_t* counts);

}  // namespace descent::gpu
