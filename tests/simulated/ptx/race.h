// Detects races: pairs of unordered accesses to one byte, at least one a write, and not both atomic or volatile
// ("strong"). Detection does not need an unlucky execution order; it only depends on which threads access what between
// which barriers.
//
// What orders two accesses:
// - of one thread: the program;
// - of one warp: a bar.warp.sync of all its live lanes in between. Shuffles and votes order no memory;
// - of one block: a barrier in between;
// - of two blocks, or of warps without a barrier: a fence, then a strong write (release), whose value another thread
//   reads with a strong read, then a fence (acquire). Fences of less than the device's scope don't count.
// Approximations, all of which can only miss races:
// - a release counts as seen by every thread that acquires any later release;
// - a release covers what its lanes did in its epoch and segment, even between the fence and the strong write;
// - a fence before a barrier, of the block or the warp, counts for all lanes after it; an acquire counts for its whole
//   warp, and after a barrier for the block;
// - of several earlier readers only the last one is checked, and strong reads are dropped in favour of others;
// - strong accesses always count as ordered with one another, although the ISA (8.7) requires that they overlap
//   completely: different widths or start addresses are not noticed.
// Kernels of one stream are ordered, so a launch ignores the records of earlier ones.
//
// Lanes of one instruction that store to the same byte race if their values differ. Bytes that ld.global.nc reads must
// not be written in the same launch, even if ordered (PTX ISA, "9.7.9.9 ld.global.nc").
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "ptx/warp.h"

namespace simulated::ptx {

struct Access;
struct Block;

// membar.gl, fence.acq_rel.gpu and stronger ones.
void fence(Warp& warp);

// One kind of access to a byte: the last one, and whether there were other relevant ones.
struct Record {
  std::uint32_t segment = 0;  // 0: none. Numbered across launches, to recognize records of earlier ones
  std::uint32_t who = 0;      // thread in its block, the warp's epoch, flags
};

// The records of a 128-byte line, if only whole warps accessed it, each lane its own part; otherwise of each word, and
// if a word is not accessed as a whole, of each byte.
struct Cell {
  Record write, read, strong;  // strong: atomic and volatile writes
  std::uint64_t places = 0;    // instruction indices of the records, 21 bits each; bit 63: split into smaller cells
};
struct Cells {
  Cell *lines = nullptr, *words = nullptr;
  std::uint64_t base = 0;  // address of the first line
};

class Races {
 public:
  static Races& instance();
  static std::size_t shared_cells(std::uint32_t shared_bytes);  // the size that Block::shared_cells needs

  void begin_launch();
  void start(Block& block);    // starts its first segment
  void barrier(Block& block);  // starts its next segment
  void access(Warp& warp, const Instruction& instruction, const Access& access);

 private:
  enum class Kind : std::uint8_t { read, write, strong_read, strong_write };
  enum Which : int { kWrite, kRead, kStrong };  // index of a cell's record
  struct Now;                                   // the access being checked
  struct Release {                              // what a fence of one warp releases
    Fence fence;
    std::uint32_t warp;
    std::uint64_t time;
  };
  using SplitWord = std::array<Cell, 4>;

  Races();
  void new_segment(Block& block);
  std::uint32_t block_of(std::uint32_t segment) const { return blocks_[segment - first_]; }

  template <Kind kind>
  void touch_lanes(const Now& now, std::uint32_t lanes);
  template <Kind kind>
  void touch_lines(const Now& now);
  template <Kind kind>
  void touch_shared_words(const Now& now);
  template <Kind kind>
  void touch_words(const Now& now, int lane);
  template <Kind kind>
  void touch_bytes(const Now& now, int lane);
  template <Kind kind>
  bool touch_together(Cell& cell, const Now& now, int lane, std::uint32_t sharing);
  template <Kind kind>
  void touch(Cell& cell, const Now& now, int lane);
  bool is_shared(Cell& word, const Now& now) const;
  std::uint32_t flags_with(const Record& before, const Now& now, std::uint32_t owner) const;
  bool conflicts(const Record& before, const Now& now, std::uint32_t owner) const;
  void check(const Record& before, Which which, const Cell& cell, const Now& now, int lane) const;

  // race_cells.cpp
  static Cells cells_of(Block& block);  // of its shared memory
  bool is_split(Cell& cell, const Now& now) const;
  Cell* words_at(const Now& now, std::uint64_t address);  // marks the line as split
  SplitWord& bytes_of(Cell& word, const Now& now);        // marks the word as split
  void note_touched(const Access& access);

  bool acquired(const Record& before, const Now& now) const;
  void synchronize(const Now& now, const Access& access);
  std::uint32_t without_duplicates(Now& now, const Instruction& instruction) const;
  [[noreturn]] void report(const Record& before, Which which, const Cell& cell, const Now& now, int lane) const;

  Cells cells_;  // of the device memory
  std::uint8_t* touched_ = nullptr;
  std::uint64_t touched_chunks_ = 0;
  std::uint32_t next_segment_ = 1, first_ = 1;  // next_segment_; first of this launch
  std::vector<std::uint32_t> blocks_;           // block of each segment of the launch
  std::deque<SplitWord> split_words_;
  std::uint64_t time_ = 0;                                            // counts releases
  std::unordered_map<std::uint32_t, std::vector<Release>> releases_;  // by block
  std::unordered_map<std::uint64_t, std::uint64_t> released_at_;      // address -> release that its value carries
};

}  // namespace simulated::ptx
