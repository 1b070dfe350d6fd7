// Operations across the lanes of a warp, and fences. The scheduler has already collected the lanes of a mask in
// warp.active.
#include <algorithm>
#include <functional>

#include "ptx/memory_tables.h"

namespace simulated::ptx {
namespace {

enum class Shuffle { up, down, bfly, idx };

// PTX ISA, "9.7.9.6 shfl.sync": the lane that a lane reads, and the predicate that says whether it is in its segment.
template <Shuffle mode>
void shuffle(Warp& warp, const Instruction& i) {
  const std::uint32_t* a = warp.at_offset<std::uint32_t>(i.sources[0]);
  const std::uint32_t* b = warp.at_offset<std::uint32_t>(i.sources[1]);
  const std::uint32_t* c = warp.at_offset<std::uint32_t>(i.sources[2]);
  std::uint32_t values[kLanes], predicate = 0;
  for_lanes(warp.active, [&](int lane) {
    const int by = static_cast<int>(b[lane] & 31), bound = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int highest = (lane & segment) | (bound & ~segment), lowest = lane & segment;
    int from = 0;
    if constexpr (mode == Shuffle::up) from = lane - by;
    if constexpr (mode == Shuffle::down) from = lane + by;
    if constexpr (mode == Shuffle::bfly) from = lane ^ by;
    if constexpr (mode == Shuffle::idx) from = lowest | (by & ~segment);
    const bool valid = mode == Shuffle::up ? from >= highest : from <= highest;
    if (!valid) from = lane;
    if ((warp.active >> from & 1) == 0) {
      fail(warp, FaultKind::other,
           "lane " + std::to_string(lane) + " shuffles from lane " + std::to_string(from) + ", which takes no part");
    }
    values[lane] = a[from];
    predicate |= std::uint32_t{valid} << lane;
  });
  std::uint32_t* target = warp.at_offset<std::uint32_t>(i.targets[0]);
  for_lanes(warp.active, [&](int lane) { target[lane] = values[lane]; });
  if (i.targets[1] != kNone) warp.set_predicate(i.targets[1], predicate);
}

std::uint32_t voters(Warp& warp, const Instruction& i) {
  const std::uint32_t predicate = warp.predicate(i.sources[0]);
  return (i.negated_source ? ~predicate : predicate) & warp.active;
}

void ballot(Warp& warp, const Instruction& i) {
  const std::uint32_t votes = voters(warp, i);
  std::uint32_t* target = warp.at_offset<std::uint32_t>(i.targets[0]);
  for_lanes(warp.active, [&](int lane) { target[lane] = votes; });
}

enum class Vote { all, any, uni };

template <Vote kind>
void vote(Warp& warp, const Instruction& i) {
  const std::uint32_t votes = voters(warp, i);
  const bool all = votes == warp.active, any = votes != 0;
  const bool result = kind == Vote::all ? all : kind == Vote::any ? any : all || !any;
  warp.set_predicate(i.targets[0], result ? kAllLanes : 0);
}

// For each lane, the mask of lanes with the same value.
template <class T>
void match_any(Warp& warp, const Instruction& i) {
  const T* a = warp.at_offset<T>(i.sources[0]);
  std::uint32_t masks[kLanes];
  for_lanes(warp.active, [&](int lane) {
    std::uint32_t mask = 0;
    for_lanes(warp.active, [&](int other) { mask |= std::uint32_t{a[other] == a[lane]} << other; });
    masks[lane] = mask;
  });
  std::uint32_t* target = warp.at_offset<std::uint32_t>(i.targets[0]);
  for_lanes(warp.active, [&](int lane) { target[lane] = masks[lane]; });
}

// The whole mask if all lanes have the same value, else 0; targets[1] is a predicate that says which.
template <class T>
void match_all(Warp& warp, const Instruction& i) {
  const T* a = warp.at_offset<T>(i.sources[0]);
  const T first = a[__builtin_ctz(warp.active)];
  bool same = true;
  for_lanes(warp.active, [&](int lane) { same &= a[lane] == first; });
  std::uint32_t* target = warp.at_offset<std::uint32_t>(i.targets[0]);
  for_lanes(warp.active, [&](int lane) { target[lane] = same ? warp.active : 0; });
  if (i.targets[1] != kNone) warp.set_predicate(i.targets[1], same ? kAllLanes : 0);
}

// redux.sync: all lanes get the same result.
template <class T, class Operation>
void reduce(Warp& warp, const Instruction& i) {
  const T* a = warp.at_offset<T>(i.sources[0]);
  const int first = __builtin_ctz(warp.active);
  T result = a[first];
  for_lanes(warp.active & ~(1u << first), [&](int lane) { result = Operation{}(result, a[lane]); });
  T* target = warp.at_offset<T>(i.targets[0]);
  for_lanes(warp.active, [&](int lane) { target[lane] = result; });
}

struct Add {
  std::uint32_t operator()(std::uint32_t a, std::uint32_t b) const { return a + b; }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};

void active_mask(Warp& warp, const Instruction& i) {
  const std::uint32_t mask = warp.active;
  std::uint32_t* target = warp.at_offset<std::uint32_t>(i.targets[0]);
  for_lanes(mask, [&](int lane) { target[lane] = mask; });
}

// The race detector ignores a barrier of only part of the warp: its epochs count for whole warps.
void synchronize_warp(Warp& warp, const Instruction&) {
  if (warp.active == warp.live) ++warp.epoch;
}

void nothing(Warp&, const Instruction&) {}

ExecuteTable make_table() {
  ExecuteTable table{
      {"shfl.sync.up.b32", &shuffle<Shuffle::up>},
      {"shfl.sync.down.b32", &shuffle<Shuffle::down>},
      {"shfl.sync.bfly.b32", &shuffle<Shuffle::bfly>},
      {"shfl.sync.idx.b32", &shuffle<Shuffle::idx>},
      {"match.any.sync.b32", &match_any<std::uint32_t>},
      {"match.any.sync.b64", &match_any<std::uint64_t>},
      {"match.all.sync.b32", &match_all<std::uint32_t>},
      {"match.all.sync.b64", &match_all<std::uint64_t>},
      {"redux.sync.add.u32", &reduce<std::uint32_t, Add>},
      {"redux.sync.add.s32", &reduce<std::uint32_t, Add>},
      {"redux.sync.min.u32", &reduce<std::uint32_t, Min>},
      {"redux.sync.min.s32", &reduce<std::int32_t, Min>},
      {"redux.sync.max.u32", &reduce<std::uint32_t, Max>},
      {"redux.sync.max.s32", &reduce<std::int32_t, Max>},
      {"redux.sync.and.b32", &reduce<std::uint32_t, std::bit_and<std::uint32_t>>},
      {"redux.sync.or.b32", &reduce<std::uint32_t, std::bit_or<std::uint32_t>>},
      {"redux.sync.xor.b32", &reduce<std::uint32_t, std::bit_xor<std::uint32_t>>},
      {"activemask.b32", &active_mask},
      {"bar.warp.sync", &synchronize_warp},
      // The simulator's memory is always in order within a block, and for races only barriers count there.
      {"membar.cta", &nothing},
      {"fence.acq_rel.cta", &nothing},
      {"fence.sc.cta", &nothing},
  };
  for (const char* name :
       {"membar.gl", "membar.sys", "fence.acq_rel.gpu", "fence.acq_rel.sys", "fence.sc.gpu", "fence.sc.sys"}) {
    table[name] = [](Warp& warp, const Instruction&) { fence(warp); };
  }
  for (const std::string order : {"vote.sync.", "vote."}) {  // nvcc emits the former, inline assembly the latter
    const std::string after = order == "vote." ? ".sync" : "";
    table[order + "ballot" + after + ".b32"] = &ballot;
    table[order + "all" + after + ".pred"] = &vote<Vote::all>;
    table[order + "any" + after + ".pred"] = &vote<Vote::any>;
    table[order + "uni" + after + ".pred"] = &vote<Vote::uni>;
  }
  return table;
}

const ExecuteTable& warp_table() {
  static const ExecuteTable table = make_table();
  return table;
}

}  // namespace

Execute find_warp(const Opcode& opcode) {
  const auto found = warp_table().find(joined(opcode));
  return found == warp_table().end() ? nullptr : found->second;
}

std::vector<std::string> accepted_warp() { return keys(warp_table()); }

}  // namespace simulated::ptx
