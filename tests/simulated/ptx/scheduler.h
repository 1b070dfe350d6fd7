// Runs a warp: decides which of its lanes run, and where they diverge and reconverge.
//
// Lanes at the same instruction form a group. The group with the lowest instruction runs first, so that diverged lanes
// reconverge where their paths join. In random order (Order::random) any group may run first, and groups that meet join
// only sometimes: code that is correct on a GPU is correct in any such order. Barriers and warp_sync always join.
#pragma once

#include <cstdint>

#include "ptx/warp.h"

namespace simulated::ptx {

// Why a warp stops running.
enum class Stop : std::uint8_t {
  barrier,   // all its live lanes wait at the barrier Warp::at
  finished,  // all lanes have exited
  slice,     // it has run for long, or polls memory: others should get a turn
};

Stop run(Warp& warp);

// How long a warp runs before others get a turn, and a launch before it counts as a deadlock. Checked only at backward
// branches, so that code without loops pays nothing.
struct Limits {
  std::uint64_t slice = std::uint64_t{1} << 20;     // instructions per warp
  std::uint32_t polls = 16;                         // ... or its volatile, relaxed and atomic accesses
  std::uint64_t spinning = std::uint64_t{1} << 26;  // of a launch whose warps all poll, without a write: deadlock
  std::uint64_t endless = std::uint64_t{1} << 33;   // ... without a block finishing, whatever they do: deadlock
};
Limits& limits();

// "`bar.sync 0` by lanes 0xffff0000; ..." for all lanes of the warp, for errors.
std::string standing(const Warp& warp);

}  // namespace simulated::ptx
