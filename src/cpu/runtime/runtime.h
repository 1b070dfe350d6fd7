// Hooks for tests of the CPU allocator. The byte limit comes from the environment variable DESCENT_CPU_MEMORY_LIMIT.
#pragma once

#include <cstdint>

namespace descent::cpu {

// Makes the n-th allocation from now on (1: the next) throw OutOfMemory, once; 0 cancels this.
void fail_allocation_after(std::int64_t n);

}  // namespace descent::cpu
