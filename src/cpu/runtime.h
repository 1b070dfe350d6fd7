// Hooks for tests of the CPU allocator. The byte limit comes from the environment variable DESCENT_CPU_MEMORY_LIMIT.
#pragma once

#include <cstdint>

namespace descent::cpu {

// The n-th allocation of memory from now on (1: the next) throws OutOfMemory, once; 0 takes the order back.
void fail_allocation_after(std::int64_t n);

}  // namespace descent::cpu
