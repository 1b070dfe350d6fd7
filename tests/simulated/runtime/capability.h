// What depends on a device's compute capability. Source: CUDA C++ Programming Guide, "Compute Capabilities", table
// "Technical Specifications per Compute Capability".
#pragma once

#include <cstdint>

namespace simulated {

constexpr int kLowestCapability = 75;  // that CUDA 13 knows
constexpr int kRegisters = 64 * 1024;  // of 32 bits, of a block and of a multiprocessor

struct Capability {
  int threads;                          // of a multiprocessor
  int blocks;                           // ... resident at once
  std::uint32_t shared_bytes;           // ... for all blocks
  std::uint32_t optin_bytes;            // of one block that asks (cudaFuncSetAttribute)
  std::uint32_t reserved_bytes = 1024;  // of shared memory for each block, by the system
};

// Of 10 major + minor, as Settings::capability. One that the table lacks has what the next lower one has.
Capability capability_limits(int capability);

}  // namespace simulated
