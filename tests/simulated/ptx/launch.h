// Runs a kernel on the simulated device to completion.
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

// Follows Settings: order of blocks and warps, race detection, uninitialized reads, counters. Throws Error if the
// kernel does something illegal; whatever it has written until then remains.
Counters run(const Kernel& kernel, const Launch& launch);

}  // namespace simulated::ptx
