// Limits of a launch that all devices share. Source: CUDA C++ Programming Guide, "Compute Capabilities", table
// "Technical Specifications per Compute Capability".
#pragma once

#include <cstdint>

namespace simulated::ptx {

constexpr std::uint32_t kMostGridX = 0x7FFFFFFF, kMostGridYZ = 65535;
constexpr std::uint32_t kMostBlockXY = 1024, kMostBlockZ = 64, kMostThreads = 1024;  // per block
constexpr std::uint32_t kMostStaticShared = 48 * 1024;  // bytes; with dynamic ones too unless the kernel opts in

}  // namespace simulated::ptx
