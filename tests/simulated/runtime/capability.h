// What depends on a device's compute capability. Source: CUDA C++ Programming Guide, "Compute Capabilities", table
// "Technical Specifications per Compute Capability".
#pragma once

#include <cstdint>

namespace simulated {

constexpr std::uint32_t kSharedBytes = 48 * 1024;  // of a block that asks for no more; of all capabilities
constexpr std::uint32_t kReservedShared = 1024;    // for each block, by the system; from 8.0 on
constexpr int kThreadsOfBlock = 1024;
constexpr int kRegisters = 64 * 1024;  // of 32 bits, of a block and of a multiprocessor

struct Capability {
  int threads;                 // of a multiprocessor
  int blocks;                  // ... resident at once
  std::uint32_t shared_bytes;  // ... for all blocks
  std::uint32_t optin_bytes;   // of one block that asks (cudaFuncSetAttribute)
};

// Of 10 major + minor, as Settings::capability. One that the table lacks has what the next lower one has.
Capability capability_limits(int capability);

}  // namespace simulated
