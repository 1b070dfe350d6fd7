// The allocations of cudaMalloc.
#pragma once

#include <cstdint>
#include <map>

namespace simulated {

struct Allocation {
  std::uint64_t bytes = 0;
  int device = 0;
};

std::map<std::uint64_t, Allocation>& allocations();  // keyed by address
// The device that the address belongs to, or -1.
int device_of(std::uint64_t address);

}  // namespace simulated
