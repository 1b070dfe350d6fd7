// What orders accesses (segments, fences and flags), and the report of a race.
#include <algorithm>
#include <cstdio>

#include "ptx/race_now.h"

namespace simulated::ptx {
namespace {

// Whether the fence, in the same segment and warp as the access, comes after it. Of several lanes only the last one is
// recorded, so a fence by any of them counts for all.
bool covers(const Fence& fence, const Record& before) {
  constexpr std::uint32_t kEpochs = 1u << kEpochBits;
  const std::uint32_t later = (fence.epoch - ((before.who & kEpochMask) >> kEpochShift)) % kEpochs;
  if (later != 0) return later < kEpochs / 2;
  return (before.who & (kSeveralThreads | kSeveralWarps)) != 0 || (fence.lanes >> thread_of(before) % kLanes & 1) != 0;
}

}  // namespace

void fence(Warp& warp) {
  Fence& fence = warp.fence;
  if (fence.segment != warp.block->segment || fence.epoch != warp.epoch) {
    fence = {warp.block->segment, warp.epoch, 0};
  }
  fence.lanes |= warp.active;
  warp.acquired = std::max(warp.acquired, warp.seen);
}

void Races::new_segment(Block& block) {
  block.segment = next_segment_++;
  blocks_.push_back(static_cast<std::uint32_t>(block.number));
  for (Warp& warp : block.warps) warp.epoch = 0;
}

void Races::start(Block& block) {
  new_segment(block);
  block.first_segment = block.segment;
}

void Races::barrier(Block& block) {
  std::uint64_t acquired = 0;
  std::uint32_t fenced_segment = 0;
  for (const Warp& warp : block.warps) {
    acquired = std::max(acquired, warp.acquired);
    fenced_segment = std::max(fenced_segment, warp.fence.segment);
  }
  new_segment(block);
  for (Warp& warp : block.warps) {
    warp.acquired = acquired;
    // A fence of another warp covers the segments before its own.
    if (warp.fence.segment != fenced_segment) warp.fence = {fenced_segment, 0, 0};
  }
}

// Whether a release by the access's block covers the access, and this warp has acquired since.
bool Races::acquired(const Record& before, const Now& now) const {
  if (now.warp.acquired == 0) return false;
  const std::uint32_t block = block_of(before.segment);
  if (block == now.block.number && (before.who & kSeveralBlocks) != 0) return true;
  const auto releases = releases_.find(block);
  if (releases == releases_.end()) return false;
  for (const Release& release : releases->second) {
    if (release.time > now.warp.acquired) break;
    const Fence& fence = release.fence;
    if (fence.segment > before.segment) return true;
    if (fence.segment == before.segment && release.warp == warp_of(before) && covers(fence, before)) return true;
  }
  return false;
}

// A strong access to global memory: records what it releases and what it observes.
void Races::synchronize(const Now& now, const Access& access) {
  Warp& warp = now.warp;
  const Ordering ordering = warp.ordering;
  if (access.effect != Effect::store && !released_at_.empty()) {
    for_lanes(access.lanes, [&](int lane) {
      const auto found = released_at_.find(access.addresses[lane]);
      if (found != released_at_.end()) warp.seen = std::max(warp.seen, found->second);
    });
  }
  if (ordering == Ordering::acquire || ordering == Ordering::acq_rel)
    warp.acquired = std::max(warp.acquired, warp.seen);
  if (access.effect == Effect::load) return;
  // The lanes that release, and the fence up to which they do.
  Fence covered = warp.fence;
  std::uint32_t releasing = 0;
  if (ordering == Ordering::release || ordering == Ordering::acq_rel) {
    releasing = access.lanes;
    covered = {now.segment, warp.epoch, releasing};
  } else if (covered.segment == now.segment && covered.epoch == warp.epoch) {
    releasing = covered.lanes &= access.lanes;
  } else if (covered.segment != 0) {  // a block or warp barrier came after the fence
    releasing = access.lanes;
  }
  // A plain strong store ends an earlier release sequence; an atomic update continues it.
  if (access.effect == Effect::store && !released_at_.empty()) {
    for_lanes(access.lanes & ~releasing, [&](int lane) { released_at_.erase(access.addresses[lane]); });
  }
  if (releasing == 0) return;
  ++time_;
  std::vector<Release>& releases = releases_[static_cast<std::uint32_t>(now.block.number)];
  const bool known = std::any_of(releases.begin(), releases.end(), [&](const Release& earlier) {
    const Fence& fence = earlier.fence;
    if (fence.segment != covered.segment) return fence.segment > covered.segment;
    return earlier.warp == warp.index && fence.epoch == covered.epoch && (covered.lanes & ~fence.lanes) == 0;
  });
  if (!known) releases.push_back({covered, warp.index, time_});
  for_lanes(releasing, [&](int lane) { released_at_[access.addresses[lane]] = time_; });
}

// The lanes of a store with distinct addresses. Two lanes that store different values to one address are a race.
std::uint32_t Races::without_duplicates(Now& now, const Instruction& i) const {
  const Access& access = now.access;
  if (access.pattern == Pattern::consecutive) return access.lanes;
  bool ascending = true;
  std::uint64_t last = 0;
  for_lanes(access.lanes, [&](int lane) {
    ascending &= access.addresses[lane] >= last;
    last = access.addresses[lane] + access.bytes;
  });
  if (ascending) return access.lanes;
  std::uint32_t once = 0;
  const int count = std::max<int>(i.count, 1);
  const std::size_t bytes = access.bytes / static_cast<std::uint32_t>(count);
  for_lanes(access.lanes, [&](int lane) {
    bool first = true;
    for_lanes(once, [&](int other) {
      if (access.addresses[other] != access.addresses[lane]) return;
      first = false;
      now.several |= 1u << other;
      for (int e = 0; e < count; ++e) {
        const char* const value = now.warp.registers + i.targets[e];
        if (std::memcmp(value + lane * i.target_width, value + other * i.target_width, bytes) == 0) continue;
        fail(now.warp, FaultKind::race,
             "race: lanes " + std::to_string(other) + " and " + std::to_string(lane) +
                 " of one instruction store different values to one address");
      }
    });
    if (first) once |= 1u << lane;
  });
  return once;
}

void Races::report(const Record& before, Which which, const Cell& cell, const Now& now, int lane) const {
  const Kernel& kernel = now.block.execution.kernel;
  const Dim block = now.block.execution.launch.block;
  const auto text_of = [&](std::uint32_t thread) {
    return "thread (" + std::to_string(thread % block.x) + "," + std::to_string(thread / block.x % block.y) + "," +
           std::to_string(thread / (block.x * block.y)) + ")";
  };
  const char* const done[] = {"stored to", "loaded", "updated or stored to with volatile or atomic"};
  const std::size_t place = cell.places >> kPlaceBits * which & kPlaceMask;
  const std::uint64_t number = block_of(before.segment);
  std::string who = text_of(thread_of(before));
  if ((before.who & kSeveralBlocks) != 0) {
    who += " and others, of several blocks,";
  } else if (number != now.block.number) {
    who += " of block " + std::to_string(number);
  } else if ((before.who & (kSeveralWarps | kSeveralThreads)) != 0) {
    who += " and others of this block";
  } else {
    who += " of this block";
  }
  char address[32];
  std::snprintf(address, sizeof address, "0x%llx", static_cast<unsigned long long>(now.access.addresses[lane]));
  const bool read_only = now.read_only || (which == kRead && (before.who & kReadOnly) != 0);
  fail(now.warp, FaultKind::race,
       "race at " + std::string(now.access.space == Space::global ? "global" : "shared") + " address " + address +
           ": " + text_of(now.warp.index * kLanes + static_cast<std::uint32_t>(lane)) + " accesses what " + who + " " +
           done[which] + " before with `" + kernel.texts[kernel.code[place].text] + "`, " +
           (read_only ? "but ld.global.nc wants memory that does not change" : "without a barrier in between"));
}

}  // namespace simulated::ptx
