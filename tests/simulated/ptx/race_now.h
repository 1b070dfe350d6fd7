// What race.cpp and race_order.cpp share.
#pragma once

#include "ptx/memory_access.h"
#include "ptx/race.h"

namespace simulated::ptx {

// Record::who: the thread, the warp's epoch, flags.
constexpr std::uint32_t kThreadBits = 10, kEpochBits = 17;
constexpr std::uint32_t kThreadMask = (1u << kThreadBits) - 1;
constexpr std::uint32_t kEpochMask = ((1u << kEpochBits) - 1) << kThreadBits;
constexpr std::uint32_t kStrongReads = 1u << 27;     // of `read`: only volatile and atomic reads
constexpr std::uint32_t kSeveralThreads = 1u << 28;  // of the warp, in the epoch
constexpr std::uint32_t kSeveralWarps = 1u << 29;    // in the segment
constexpr std::uint32_t kSeveralBlocks = 1u << 30;   // in the launch
constexpr std::uint32_t kReadOnly = 1u << 31;        // by ld.global.nc, in the launch
constexpr std::uint32_t kFlags = kStrongReads | kSeveralThreads | kSeveralWarps | kSeveralBlocks | kReadOnly;

// Cell::places.
constexpr int kPlaceBits = 21;
constexpr std::uint64_t kPlaceMask = (1u << kPlaceBits) - 1;
constexpr std::uint64_t kSplit = std::uint64_t{1} << 63;

inline std::uint32_t thread_of(const Record& record) { return record.who & kThreadMask; }
inline std::uint32_t warp_of(const Record& record) { return thread_of(record) / kLanes; }

struct Races::Now {
  Warp& warp;
  const Block& block;
  const Access& access;
  Kind kind;
  bool read_only;                // ld.global.nc
  std::uint32_t segment, first;  // what is older than the first segment is another life of the memory
  std::uint32_t epoch;           // in its place in Record::who
  std::uint32_t several = 0;     // lanes of a store that stand for others too, which store the same
};

}  // namespace simulated::ptx
