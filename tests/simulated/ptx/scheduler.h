// Runs a warp: which of its lanes go on, where they part and where they meet again.
//
// Lanes that stand at one instruction are a group, and the group with the lowest instruction goes first, so that lanes
// that parted meet again where their ways join. In random order (Order::random) any group may go first, and groups that
// meet only join sometimes: what is right on a GPU is right in any such order. Barriers and warp_sync always join.
#pragma once

#include <cstdint>

#include "ptx/warp.h"

namespace simulated::ptx {

// Why a warp hands back control.
enum class Stop : std::uint8_t {
  barrier,   // all its live lanes stand at the barrier Warp::at
  finished,  // all lanes have left
  slice,     // it has run for long, or polls memory: others should have a turn
};

Stop run(Warp& warp);

// How long a warp runs before others have a turn, and a launch before it is called a deadlock. Looked at where a warp
// jumps back, so that code without loops never pays for it.
struct Limits {
  std::uint64_t slice = std::uint64_t{1} << 20;     // instructions of a warp
  std::uint32_t polls = 16;                         // ... or volatile, relaxed and atomic accesses of it
  std::uint64_t spinning = std::uint64_t{1} << 26;  // a launch's, all of whose warps poll, without a write: deadlock
  std::uint64_t endless = std::uint64_t{1} << 33;   // ... without the end of a block, whatever they do: deadlock
};
Limits& limits();

// "`bar.sync 0` by lanes 0xffff0000; ..." of all lanes of the warp, for errors.
std::string standing(const Warp& warp);

}  // namespace simulated::ptx
