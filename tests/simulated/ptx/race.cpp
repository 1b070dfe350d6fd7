// The cells: what happened to each byte, and whether an access now is ordered with it.
#include "ptx/race.h"

#include <sys/mman.h>

#include "ptx/race_now.h"

namespace simulated::ptx {
namespace {

constexpr std::uint64_t kWord = 4;
constexpr std::uint64_t kChunk = 1 << 16;           // bytes of device memory
constexpr std::uint64_t kMostTouchedChunks = 2048;  // 512 KiB of cells each

template <class T>
T* map(std::uint64_t count) {
  void* const at =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw Error(FaultKind::other, "no address space to look for races in (SIMULATED_RACES=off)");
  madvise(at, count * sizeof(T), MADV_DONTDUMP);
  return static_cast<T*>(at);
}

}  // namespace

// Never destroyed, like the device memory.
Races& Races::instance() {
  static Races& races = *new Races;
  return races;
}

Races::Races() {
  const std::uint64_t bytes = DeviceMemory::instance().bytes();
  cells_ = map<Cell>(bytes / kWord);
  touched_ = map<std::uint8_t>(bytes / kChunk + 1);
}

void Races::begin_launch() {
  blocks_.clear();
  split_.clear();
  releases_.clear();
  released_at_.clear();
  const bool restart = next_segment_ > (1u << 31);
  if (restart || touched_chunks_ > kMostTouchedChunks) {
    const std::uint64_t bytes = DeviceMemory::instance().bytes();
    madvise(cells_, bytes / kWord * sizeof(Cell), MADV_DONTNEED);
    madvise(touched_, bytes / kChunk + 1, MADV_DONTNEED);
    touched_chunks_ = 0;
  }
  if (restart) next_segment_ = 1;
  first_ = next_segment_;
}

inline void Races::note_touched(const Access& access) {
  const std::uint64_t base = DeviceMemory::instance().base();
  const auto note = [&](int lane) {
    std::uint8_t& touched = touched_[(access.addresses[lane] - base) / kChunk];
    touched_chunks_ += touched == 0;
    touched = 1;
  };
  if (access.pattern == Pattern::any) return for_lanes(access.lanes, note);
  note(__builtin_ctz(access.lanes));
  note(31 - __builtin_clz(access.lanes));
}

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
          (warp.epoch << kEpochShift) & kEpochMask};
  Cell* const cells = global ? cells_ : reinterpret_cast<Cell*>(block.shared_cells.data());
  const std::uint64_t base = global ? block.execution.memory.base() : 0;
  if (global) note_touched(access);
  switch (kind) {
    case Kind::read:
      touch_lanes<Kind::read>(now, access, access.lanes, cells, base);
      break;
    case Kind::strong_read:
      touch_lanes<Kind::strong_read>(now, access, access.lanes, cells, base);
      break;
    case Kind::strong_write:
      touch_lanes<Kind::strong_write>(now, access, access.lanes, cells, base);
      break;
    case Kind::write: {
      const std::uint32_t lanes = without_duplicates(now, instruction);
      touch_lanes<Kind::write>(now, access, lanes, cells, base);
      break;
    }
  }
  if (strong && global) synchronize(now, access);
}

template <Races::Kind kind>
void Races::touch_lanes(const Now& now, const Access& access, std::uint32_t lanes, Cell* cells, std::uint64_t base) {
  // Of lanes at one address the first and the last one: one of them is another thread than any that came before.
  if (access.pattern == Pattern::uniform) {
    lanes = (lanes & (~lanes + 1)) | std::uint32_t{1} << (31 - __builtin_clz(lanes));
  }
  // Lanes that share words, which none of them has for itself: two or four at once, while nobody goes to parts of them.
  if (access.bytes < kWord && access.pattern == Pattern::consecutive && access.addresses[0] % kWord == 0) {
    const int together = static_cast<int>(kWord / access.bytes);
    for (int lane = 0; lane < kLanes; lane += together) {
      Cell& cell = cells[(access.addresses[lane] - base) / kWord];
      if (is_split(cell, now)) {
        for (int n = lane; n < lane + together; ++n) touch_bytes<kind>(now, access, n, cells, base);
      } else {
        touch<kind>(cell, now, lane, together == 2 ? kHalves : kQuarters);
      }
    }
    return;
  }
  if (access.bytes < kWord) {
    return for_lanes(lanes, [&](int lane) { touch_bytes<kind>(now, access, lane, cells, base); });
  }
  for_lanes(lanes, [&](int lane) {
    Cell* const first = &cells[(access.addresses[lane] - base) / kWord];
    for (Cell* cell = first; cell < first + access.bytes / kWord; ++cell) {
      if (is_split(*cell, now)) {
        for (Cell& byte : *split_of(*cell, now)) touch<kind>(byte, now, lane);
      } else {
        touch<kind>(*cell, now, lane);
      }
    }
  });
}

// An access to part of a word.
template <Races::Kind kind>
void Races::touch_bytes(const Now& now, const Access& access, int lane, Cell* cells, std::uint64_t base) {
  const std::uint64_t at = access.addresses[lane] - base;
  SplitCell& bytes = *split_of(cells[at / kWord], now);
  for (std::uint64_t byte = at % kWord; byte < at % kWord + access.bytes; ++byte) touch<kind>(bytes[byte], now, lane);
}

inline bool Races::is_split(Cell& cell, const Now& now) {
  if ((cell.places & kSplit) == 0) return false;
  if (cell.write.segment >= now.first) return true;
  cell = Cell{};
  return false;
}

// The cells of the word's bytes, from now on apart, as an access does not go to all of them.
Races::SplitCell* Races::split_of(Cell& cell, const Now& now) {
  if (!is_split(cell, now)) {
    const auto index = static_cast<std::uint32_t>(split_.size());
    SplitCell& bytes = split_.emplace_back(SplitCell{cell, cell, cell, cell});
    for (std::uint32_t byte = 0; byte < kWord; ++byte) {
      for (Record* const record : {&bytes[byte].write, &bytes[byte].read, &bytes[byte].strong}) {
        const std::uint32_t sharing = record->who & (kHalves | kQuarters);
        record->who = (record->who & ~sharing) + (sharing == kHalves ? byte / 2 : sharing == kQuarters ? byte : 0);
      }
    }
    cell = Cell{};
    cell.write = {now.segment, index};
    cell.places = kSplit;
  }
  return &split_[cell.write.who];
}

// Whether nothing of the block's or the warp's orders the access `before` with one by `thread` now.
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

inline void Races::check(const Record& before, Which which, const Cell& cell, const Now& now, int lane,
                         std::uint32_t sharing) const {
  const std::uint32_t owner = (now.warp.index * kLanes + static_cast<std::uint32_t>(lane)) | sharing;
  if (conflicts(before, now, owner) && !acquired(before, now)) [[unlikely]]
    report(before, which, cell, now, lane);
}

template <Races::Kind kind>
inline void Races::touch(Cell& cell, const Now& now, int lane, std::uint32_t sharing) {
  const std::uint32_t owner = (now.warp.index * kLanes + static_cast<std::uint32_t>(lane)) | sharing;
  const auto note = [&](Record& record, Which which, std::uint32_t flags) {
    record = {now.segment, owner | now.epoch | flags};
    const int shift = kPlaceBits * which;
    cell.places = (cell.places & ~(kPlaceMask << shift)) | (now.warp.at & kPlaceMask) << shift;
  };
  check(cell.write, kWrite, cell, now, lane, sharing);
  if constexpr (kind == Kind::read) {
    check(cell.strong, kStrong, cell, now, lane, sharing);
    if (now.read_only && cell.write.segment >= now.first) report(cell.write, kWrite, cell, now, lane);
    if (now.read_only && cell.strong.segment >= now.first) report(cell.strong, kStrong, cell, now, lane);
    const std::uint32_t flags = (cell.read.who & kStrongReads) != 0 ? 0 : flags_with(cell.read, now, owner);
    note(cell.read, kRead, flags | (now.read_only ? kReadOnly : 0));
  } else if constexpr (kind == Kind::strong_read) {
    // Other reads are more to be remembered, as long as they may be unordered with something.
    const bool others = (cell.read.who & kStrongReads) == 0 && cell.read.segment >= now.first &&
                        (cell.read.segment == now.segment || (cell.read.who & (kSeveralBlocks | kReadOnly)) != 0 ||
                         block_of(cell.read.segment) != now.block.number);
    if (!others) note(cell.read, kRead, flags_with(cell.read, now, owner) | kStrongReads);
  } else {
    if (kind == Kind::write || (cell.read.who & kStrongReads) == 0) check(cell.read, kRead, cell, now, lane, sharing);
    if (cell.read.segment >= now.first && (cell.read.who & kReadOnly) != 0) report(cell.read, kRead, cell, now, lane);
    if constexpr (kind == Kind::strong_write) {
      note(cell.strong, kStrong, flags_with(cell.strong, now, owner));
    } else {
      check(cell.strong, kStrong, cell, now, lane, sharing);
      cell = Cell{};  // it comes behind everything before it
      note(cell.write, kWrite, (now.several >> lane & 1) != 0 ? kSeveralThreads : 0);
    }
  }
}

}  // namespace simulated::ptx
