// Limits that depend on a device's compute capability. Source: CUDA C++ Programming Guide, "Compute Capabilities",
// table "Technical Specifications per Compute Capability".
#pragma once

#include <cstdint>

namespace simulated {

constexpr int kLowestCapability = 75;  // the lowest that CUDA 13 supports
constexpr int kRegisters = 64 * 1024;  // 32-bit registers per block and per multiprocessor

struct Capability {
  int threads;                          // per multiprocessor
  int blocks;                           // ... resident at the same time
  std::uint32_t shared_bytes;           // ... shared by all its blocks
  std::uint32_t optin_bytes;            // per block that opts in (cudaFuncSetAttribute)
  std::uint32_t reserved_bytes = 1024;  // per block, by the system
};

// `capability` is 10 major + minor, as in Settings::capability. One that is not in the table uses the next lower entry.
Capability capability_limits(int capability);

}  // namespace simulated
