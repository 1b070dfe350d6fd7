// Counts the memory accesses of kernels (Counters, below "Only with Settings::counters").
#pragma once

#include <cstdint>

#include "ptx/memory_access.h"

namespace simulated::ptx {

class Traffic {
 public:
  static Traffic& instance();

  void begin_launch();
  void access(const Access& access);
  const Counters& counters() const { return counters_; }

 private:
  Traffic();
  void global(const Access& access);

  Counters counters_;
  std::uint32_t launch_ = 0;
  std::uint32_t* launches_[3] = {};  // last to access each sector of device memory: loads, stores, atomics
};

// shared_memory.cpp: adds an access to shared memory.
void count_shared(const Access& access, SharedAccess& counted);

}  // namespace simulated::ptx
