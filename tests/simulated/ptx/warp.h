// The state of a running block and its warps, on which an instruction's function (ptx::Execute) operates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ptx/kernel.h"

namespace simulated::ptx {

constexpr int kLanes = 32;
constexpr std::uint32_t kAllLanes = 0xFFFFFFFFu;

struct Block;

// The memory ordering of an access (PTX ISA, "8. Memory Consistency Model"); volatile is relaxed.
enum class Ordering : std::uint8_t { weak, read_only, relaxed, acquire, release, acq_rel };

// Lanes of a warp at the same instruction.
struct Group {
  std::uint32_t at = 0, lanes = 0;
  bool waiting = false;  // at a warp_sync or a barrier
};

// A fence of a warp: it covers everything in the block's earlier segments (race.h) and in the warp's earlier epochs,
// and, in its own epoch, what its own lanes did.
struct Fence {
  std::uint32_t segment = 0;  // of the block; 0: there is no fence
  std::uint32_t epoch = 0, lanes = 0;
};

struct Warp {
  char* registers = nullptr;
  std::uint32_t at = 0;       // the running group's next instruction
  std::uint32_t running = 0;  // the lanes of the running group
  std::uint32_t active = 0;   // the running lanes whose guard is true: the instruction executes for these
  std::uint32_t live = 0;     // lanes that have not exited
  std::uint32_t index = 0;    // in its block
  std::uint32_t epoch = 0;    // counts bar.warp.sync of the whole warp: for races within it
  std::vector<Group> others;  // the other groups
  Block* block = nullptr;
  // For the scheduler (scheduler.h):
  std::uint32_t limit = 0;  // where the running group meets another one, or must let it run first
  bool at_barrier = false;  // all live lanes are at the barrier `at`
  bool fair = false;        // its groups spin-wait for each other, so they take turns
  std::uint32_t polls = 0;  // accesses in this slice that may be polling for another thread
  // For race detection (race.h):
  Ordering ordering = Ordering::weak;  // of the current access
  Fence fence;                         // the last one
  std::uint64_t seen = 0;              // the latest release that its atomic or volatile reads have seen
  std::uint64_t acquired = 0;          // ... as of its last acquire (access, fence or barrier)

  template <class T>
  T* at_offset(std::int32_t offset) {
    return reinterpret_cast<T*>(registers + offset);
  }
  std::uint32_t& predicate(std::int32_t offset) { return *at_offset<std::uint32_t>(offset); }
  // Sets the active lanes' bits.
  void set_predicate(std::int32_t offset, std::uint32_t bits) {
    std::uint32_t& p = predicate(offset);
    p = (p & ~active) | (bits & active);
  }
};

// Calls f(lane) for each lane of the mask.
template <class F>
inline void for_lanes(std::uint32_t mask, F&& f) {
  if (mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (; mask != 0; mask &= mask - 1) f(__builtin_ctz(mask));
  }
}

// Throws an Error that names the kernel, block, warp and instruction.
[[noreturn]] void fail(const Warp& warp, FaultKind kind, const std::string& what);

}  // namespace simulated::ptx
