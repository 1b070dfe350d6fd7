// Records the accesses to each cell, and checks whether a new access is ordered with them.
#include "ptx/race.h"

#include "ptx/race_now.h"

namespace simulated::ptx {

void Races::access(Warp& warp, const Instruction& instruction, const Access& access) {
  if (access.space != Space::global && access.space != Space::shared) return;
  Block& block = *warp.block;
  const bool strong = warp.ordering > Ordering::read_only;
  const Kind kind = access.effect == Effect::load ? (strong ? Kind::strong_read : Kind::read)
                                                  : (strong ? Kind::strong_write : Kind::write);
  const bool global = access.space == Space::global;
  Now now{warp,
          block,
          access,
          kind,
          warp.ordering == Ordering::read_only,
          block.segment,
          global ? first_ : block.first_segment,
          (warp.epoch << kEpochShift) & kEpochMask,
          global ? cells_ : cells_of(block)};
  if (global) note_touched(access);
  switch (kind) {
    case Kind::read:
      touch_lanes<Kind::read>(now, access.lanes);
      break;
    case Kind::strong_read:
      touch_lanes<Kind::strong_read>(now, access.lanes);
      break;
    case Kind::strong_write:
      touch_lanes<Kind::strong_write>(now, access.lanes);
      break;
    case Kind::write: {
      const std::uint32_t lanes = without_duplicates(now, instruction);
      touch_lanes<Kind::write>(now, lanes);
      break;
    }
  }
  if (strong && global) synchronize(now, access);
}

template <Races::Kind kind>
void Races::touch_lanes(const Now& now, std::uint32_t lanes) {
  const Access& access = now.access;
  if (access.pattern == Pattern::consecutive && (kind == Kind::read || kind == Kind::write)) {
    if (access.bytes >= kWord && access.addresses[0] % kLine == 0) return touch_lines<kind>(now);
    if (access.bytes < kWord && access.addresses[0] % kWord == 0) return touch_shared_words<kind>(now);
  }
  // For lanes at one address, the first and the last suffice: one of them differs from any earlier thread.
  if (access.pattern == Pattern::uniform) {
    lanes = (lanes & (~lanes + 1)) | std::uint32_t{1} << (31 - __builtin_clz(lanes));
  }
  if (access.bytes < kWord) return for_lanes(lanes, [&](int lane) { touch_bytes<kind>(now, lane); });
  for_lanes(lanes, [&](int lane) { touch_words<kind>(now, lane); });
}

// A warp's access to whole lines, each lane to its part of a line.
template <Races::Kind kind>
void Races::touch_lines(const Now& now) {
  const std::uint32_t bytes = now.access.bytes;
  const int together = static_cast<int>(kLine / bytes);
  const std::uint32_t sharing = bytes == 4 ? kWords : bytes == 8 ? kDoubleWords : kQuadWords;
  for (int lane = 0; lane < kLanes; lane += together) {
    Cell& line = now.cells.lines[(now.access.addresses[lane] - now.cells.base) / kLine];
    if (!is_split(line, now) && touch_together<kind>(line, now, lane, sharing)) continue;
    for (int n = lane; n < lane + together; ++n) touch_words<kind>(now, n);
  }
}

// A warp's access to words that two or four lanes share.
template <Races::Kind kind>
void Races::touch_shared_words(const Now& now) {
  const int together = static_cast<int>(kWord / now.access.bytes);
  for (int lane = 0; lane < kLanes; lane += together) {
    Cell& word = *words_at(now, now.access.addresses[lane]);
    if (!is_split(word, now) && touch_together<kind>(word, now, lane, together == 2 ? kHalves : kQuarters)) continue;
    for (int n = lane; n < lane + together; ++n) touch_bytes<kind>(now, n);
  }
}

// Whether several lanes share the word's record, in this launch.
inline bool Races::is_shared(Cell& word, const Now& now) const {
  if (((word.write.who | word.read.who | word.strong.who) & kSharingMask) == 0) return false;
  if (word.write.segment >= now.first || word.read.segment >= now.first || word.strong.segment >= now.first)
    return true;
  word = Cell{};
  return false;
}

template <Races::Kind kind>
void Races::touch_words(const Now& now, int lane) {
  const std::uint64_t address = now.access.addresses[lane];
  Cell* const words = words_at(now, address);  // within one line, as accesses are aligned
  for (Cell* word = words; word < words + now.access.bytes / kWord; ++word) {
    if (is_split(*word, now) || is_shared(*word, now)) {
      for (Cell& byte : bytes_of(*word, now)) touch<kind>(byte, now, lane);
    } else {
      touch<kind>(*word, now, lane);
    }
  }
}

template <Races::Kind kind>
void Races::touch_bytes(const Now& now, int lane) {
  const std::uint64_t address = now.access.addresses[lane];
  SplitWord& bytes = bytes_of(*words_at(now, address), now);
  for (std::uint64_t byte = address % kWord; byte < address % kWord + now.access.bytes; ++byte) {
    touch<kind>(bytes[byte], now, lane);
  }
}

// Whether neither the program order, nor a warp sync, nor a barrier orders the access `before` with one by `owner` now.
inline bool Races::conflicts(const Record& before, const Now& now, std::uint32_t owner) const {
  if (before.segment < now.first) return false;
  if ((before.who & kSeveralBlocks) != 0) return true;
  if (before.segment != now.segment) return block_of(before.segment) != now.block.number;
  if ((before.who & kSeveralWarps) != 0 || warp_of(before) != now.warp.index) return true;
  return (before.who & kEpochMask) == now.epoch && ((before.who & kSeveralThreads) != 0 || owner_of(before) != owner);
}

// The flags of a record that replaces `before`.
inline std::uint32_t Races::flags_with(const Record& before, const Now& now, std::uint32_t owner) const {
  if (before.segment < now.first) return 0;
  const std::uint32_t flags = before.who & kFlags;
  if (before.segment == now.segment) {
    if (warp_of(before) != now.warp.index) return flags | kSeveralWarps;
    if ((before.who & kEpochMask) != now.epoch) return flags & ~kSeveralThreads;
    return owner_of(before) == owner ? flags : flags | kSeveralThreads;
  }
  const std::uint32_t kept = flags & (kSeveralBlocks | kReadOnly | kStrongReads);
  return block_of(before.segment) == now.block.number ? kept : kept | kSeveralBlocks;
}

// Records an access of the lanes from `lane` on that share the cell. Returns false, having done nothing, if there may
// be a race, or if the records of the cell's parts would differ.
template <Races::Kind kind>
inline bool Races::touch_together(Cell& cell, const Now& now, int lane, std::uint32_t sharing) {
  const std::uint32_t owner = (now.warp.index * kLanes + static_cast<std::uint32_t>(lane)) | sharing;
  if (conflicts(cell.write, now, owner) || conflicts(cell.strong, now, owner)) return false;
  Record& record = kind == Kind::read ? cell.read : cell.write;
  constexpr Which kWhich = kind == Kind::read ? kRead : kWrite;
  std::uint32_t flags = 0;
  if constexpr (kind == Kind::read) {
    if (now.read_only && (cell.write.segment >= now.first || cell.strong.segment >= now.first)) return false;
    if (record.segment >= now.first && (record.who & kStrongReads) != 0) return false;
    flags = flags_with(record, now, owner) | (now.read_only ? kReadOnly : 0);
    if ((flags & kSeveralThreads) != 0) return false;
  } else {
    if (conflicts(cell.read, now, owner)) return false;
    if (cell.read.segment >= now.first && (cell.read.who & kReadOnly) != 0) return false;
    cell = Cell{};
  }
  record = {now.segment, owner | now.epoch | flags};
  constexpr int kShift = kPlaceBits * kWhich;
  cell.places = (cell.places & ~(kPlaceMask << kShift)) | (now.warp.at & kPlaceMask) << kShift;
  return true;
}

inline void Races::check(const Record& before, Which which, const Cell& cell, const Now& now, int lane) const {
  const std::uint32_t owner = now.warp.index * kLanes + static_cast<std::uint32_t>(lane);
  if (conflicts(before, now, owner) && !acquired(before, now)) [[unlikely]]
    report(before, which, cell, now, lane);
}

template <Races::Kind kind>
inline void Races::touch(Cell& cell, const Now& now, int lane) {
  const std::uint32_t owner = now.warp.index * kLanes + static_cast<std::uint32_t>(lane);
  const auto note = [&](Record& record, Which which, std::uint32_t flags) {
    record = {now.segment, owner | now.epoch | flags};
    const int shift = kPlaceBits * which;
    cell.places = (cell.places & ~(kPlaceMask << shift)) | (now.warp.at & kPlaceMask) << shift;
  };
  check(cell.write, kWrite, cell, now, lane);
  if constexpr (kind == Kind::read) {
    check(cell.strong, kStrong, cell, now, lane);
    if (now.read_only && cell.write.segment >= now.first) report(cell.write, kWrite, cell, now, lane);
    if (now.read_only && cell.strong.segment >= now.first) report(cell.strong, kStrong, cell, now, lane);
    const std::uint32_t flags = (cell.read.who & kStrongReads) != 0 ? 0 : flags_with(cell.read, now, owner);
    note(cell.read, kRead, flags | (now.read_only ? kReadOnly : 0));
  } else if constexpr (kind == Kind::strong_read) {
    // Keep the record of ordinary reads as long as they may be unordered with a later write.
    const bool others = (cell.read.who & kStrongReads) == 0 && cell.read.segment >= now.first &&
                        (cell.read.segment == now.segment || (cell.read.who & (kSeveralBlocks | kReadOnly)) != 0 ||
                         block_of(cell.read.segment) != now.block.number);
    if (!others) note(cell.read, kRead, flags_with(cell.read, now, owner) | kStrongReads);
  } else {
    if (kind == Kind::write || (cell.read.who & kStrongReads) == 0) check(cell.read, kRead, cell, now, lane);
    if (cell.read.segment >= now.first && (cell.read.who & kReadOnly) != 0) report(cell.read, kRead, cell, now, lane);
    if constexpr (kind == Kind::strong_write) {
      note(cell.strong, kStrong, flags_with(cell.strong, now, owner));
    } else {
      check(cell.strong, kStrong, cell, now, lane);
      cell = Cell{};  // it is ordered after all earlier accesses
      note(cell.write, kWrite, (now.several >> lane & 1) != 0 ? kSeveralThreads : 0);
    }
  }
}

}  // namespace simulated::ptx
