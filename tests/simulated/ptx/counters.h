// The counts that a profiler would show for one launch, exact for the PTX. What ptxas changes later (spills, hoisting,
// instruction selection) is not visible.
#pragma once

#include <cstdint>

namespace simulated::ptx {

// Accesses of one kind to global memory. A request is one instruction of one warp.
struct GlobalAccess {
  std::uint64_t requests = 0;
  std::uint64_t bytes = 0;             // summed over all lanes
  std::uint64_t sectors = 0;           // 32-byte sectors, distinct within each request
  std::uint64_t fewest = 0;            // the minimum: ceil(distinct bytes / 32) of each request, summed
  std::uint64_t distinct_sectors = 0;  // distinct over the whole launch
};

// Accesses to shared memory. A wavefront is what the 32 banks of 4 bytes can serve at once; shared_memory.cpp describes
// the model for each access width.
struct SharedAccess {
  std::uint64_t requests = 0, bytes = 0, wavefronts = 0, fewest = 0;
  std::uint64_t conflicts() const { return wavefronts - fewest; }
};

struct Counters {
  std::uint64_t warp_instructions = 0, thread_instructions = 0;
  std::uint64_t branches = 0, divergent_branches = 0;  // counted per warp
  std::uint64_t barriers = 0;                          // counted per block
  std::uint64_t flops_f32 = 0, flops_f64 = 0;          // summed over threads; fma counts as 2
  // Only with Settings::counters:
  GlobalAccess loads, stores, atomics;
  SharedAccess shared_loads, shared_stores;
  std::uint64_t local_bytes = 0;  // read and written

  Counters& operator+=(const Counters& other);
};

}  // namespace simulated::ptx
