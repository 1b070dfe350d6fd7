// Runs a kernel on the simulated device, to its end.
#pragma once

#include <cstdint>
#include <span>

#include "ptx/counters.h"
#include "ptx/kernel.h"

namespace simulated::ptx {

struct Dim {
  std::uint32_t x = 1, y = 1, z = 1;
};

struct Launch {
  Dim grid, block;
  std::uint32_t dynamic_shared = 0;  // bytes
  std::span<const char> parameters;  // Kernel::parameter_bytes, laid out as Kernel::parameters says
};

// As Settings say: order of blocks and warps, races, uninitialized reads, counters. Throws Error where the kernel does
// what it must not; what it wrote until then stays written.
Counters run(const Kernel& kernel, const Launch& launch);

}  // namespace simulated::ptx
