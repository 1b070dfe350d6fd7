// Shared by the race detector's files.
#pragma once

#include "ptx/memory_access.h"
#include "ptx/race.h"

namespace simulated::ptx {

constexpr std::uint64_t kLine = 128;

// Layout of Record::who: the thread, how the following threads share the cell, the warp's epoch, flags.
constexpr std::uint32_t kThreadBits = 10, kSharingBits = 2, kEpochBits = 15;
constexpr std::uint32_t kThreadMask = (1u << kThreadBits) - 1;
constexpr std::uint32_t kSharingMask = 3u << kThreadBits;
constexpr std::uint32_t kHalves =
    1u << kThreadBits;  // of a word: bytes 0 and 1 are the thread's, 2 and 3 the next one's
constexpr std::uint32_t kQuarters = 2u << kThreadBits;  // of a word: one byte per thread
constexpr std::uint32_t kWords = 1u << kThreadBits;     // of a line: one word per thread
constexpr std::uint32_t kDoubleWords = 2u << kThreadBits, kQuadWords = 3u << kThreadBits;  // of a line: two, four words
constexpr std::uint32_t kOwnerMask = (1u << (kThreadBits + kSharingBits)) - 1;
constexpr int kEpochShift = kThreadBits + kSharingBits;
constexpr std::uint32_t kEpochMask = ((1u << kEpochBits) - 1) << kEpochShift;
constexpr std::uint32_t kStrongReads = 1u << 27;     // `read` holds only volatile and atomic reads
constexpr std::uint32_t kSeveralThreads = 1u << 28;  // several threads of the warp, in the epoch
constexpr std::uint32_t kSeveralWarps = 1u << 29;    // several warps, in the segment
constexpr std::uint32_t kSeveralBlocks = 1u << 30;   // several blocks, in the launch
constexpr std::uint32_t kReadOnly = 1u << 31;        // read by ld.global.nc, in the launch
constexpr std::uint32_t kFlags = kStrongReads | kSeveralThreads | kSeveralWarps | kSeveralBlocks | kReadOnly;

// Layout of Cell::places.
constexpr int kPlaceBits = 21;
constexpr std::uint64_t kPlaceMask = (1u << kPlaceBits) - 1;
constexpr std::uint64_t kSplit = std::uint64_t{1} << 63;

inline std::uint32_t thread_of(const Record& record) { return record.who & kThreadMask; }
inline std::uint32_t owner_of(const Record& record) { return record.who & kOwnerMask; }
inline std::uint32_t warp_of(const Record& record) { return thread_of(record) / kLanes; }

struct Races::Now {
  Warp& warp;
  const Block& block;
  const Access& access;
  Kind kind;
  bool read_only;                // ld.global.nc
  std::uint32_t segment, first;  // records older than segment `first` are from earlier launches or blocks
  std::uint32_t epoch;           // already shifted to its position in Record::who
  Cells cells;
  std::uint32_t several = 0;  // lanes of a store that also represent other lanes that store the same value
};

// Cells that were split in an earlier launch, or by an earlier block, become whole again.
inline bool Races::is_split(Cell& cell, const Now& now) const {
  if ((cell.places & kSplit) == 0) return false;
  if (cell.write.segment >= now.first) return true;
  cell = Cell{};
  return false;
}

}  // namespace simulated::ptx
