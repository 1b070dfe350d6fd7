// Notifies the observers of memory accesses, and reports illegal ones.
#include "ptx/memory_access.h"

#include <cstdio>

#include "ptx/race.h"
#include "ptx/traffic.h"

namespace simulated::ptx {
namespace {

const char* name_of(Space space) {
  switch (space) {
    case Space::global:
      return "global";
    case Space::shared:
      return "shared";
    case Space::local:
      return "local";
    case Space::param:
      return "param";
  }
  return "";
}

Window window_of(Warp& warp, Space space) {
  switch (space) {
    case Space::global:
      return window_of<Space::global>(warp);
    case Space::shared:
      return window_of<Space::shared>(warp);
    case Space::local:
      return window_of<Space::local>(warp);
    case Space::param:
      return window_of<Space::param>(warp);
  }
  return {};
}

}  // namespace

void observe(Warp& warp, const Instruction& instruction, const Access& access) {
  const Execution& execution = warp.block->execution;
  if (execution.races != nullptr) execution.races->access(warp, instruction, access);
  if (execution.traffic != nullptr) execution.traffic->access(access);
}

void refuse(Warp& warp, const Access& access) {
  const Window window = window_of(warp, access.space);
  const Dim size = warp.block->execution.launch.block;
  for_lanes(access.lanes, [&](int lane) {
    const std::uint64_t at = access.addresses[lane], offset = at - window.first;
    const auto refuse_for = [&](FaultKind kind, const std::string& why) {
      const std::uint32_t thread = warp.index * kLanes + static_cast<std::uint32_t>(lane);
      char who[160];
      std::snprintf(who, sizeof who, "thread (%u,%u,%u) %s %u bytes at %s address 0x%llx: ", thread % size.x,
                    thread / size.x % size.y, thread / (size.x * size.y),
                    access.effect == Effect::load    ? "loads"
                    : access.effect == Effect::store ? "stores"
                                                     : "updates",
                    access.bytes, name_of(access.space), static_cast<unsigned long long>(at));
      fail(warp, kind, who + why);
    };
    if (window.size < access.bytes || offset > window.size - access.bytes) {
      refuse_for(FaultKind::illegal_address, access.space == Space::global
                                                 ? "that is no address of device memory"
                                                 : "there are only " + std::to_string(window.size) + " bytes");
    }
    std::uint8_t bits = 0xFF;
    if (window.shadow != nullptr) {
      const std::uint8_t* const shadow = window.shadow + offset + static_cast<std::uint64_t>(lane) * window.stride;
      for (std::uint32_t byte = 0; byte < access.bytes; ++byte) bits &= shadow[byte];
    }
    if ((bits & window.needed) != window.needed) {
      refuse_for(FaultKind::illegal_address, "these are not all in an allocation, or it was freed");
    }
    if (at % access.bytes != 0) refuse_for(FaultKind::misaligned_address, "no multiple of the access's width");
    if (access.effect != Effect::store && (bits & kInitialized) == 0) {
      refuse_for(FaultKind::other, "nobody has written them all (uninitialized)");
    }
  });
  fail(warp, FaultKind::other, "a refused access that is in order");  // not reached: one lane was refused
}

}  // namespace simulated::ptx
