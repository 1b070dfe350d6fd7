// The memory of the race detector's cells, and how larger cells are split into smaller ones.
#include <sys/mman.h>

#include "ptx/race_now.h"

namespace simulated::ptx {
namespace {

constexpr std::uint64_t kChunk = 1 << 16;           // bytes of device memory
constexpr std::uint64_t kMostTouchedChunks = 2048;  // each with up to 528 KiB of cells

template <class T>
T* map(std::uint64_t count) {
  void* const at =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw Error(FaultKind::other, "no address space to look for races in (SIMULATED_RACES=off)");
  madvise(at, count * sizeof(T), MADV_DONTDUMP);
  return static_cast<T*>(at);
}

std::uint64_t lines_of(std::uint64_t bytes) { return bytes / kLine + 1; }

}  // namespace

// Never destroyed, like the device memory.
Races& Races::instance() {
  static Races& races = *new Races;
  return races;
}

Races::Races() {
  const DeviceMemory& memory = DeviceMemory::instance();
  cells_ = {map<Cell>(lines_of(memory.bytes())), map<Cell>(memory.bytes() / kWord), memory.base()};
  touched_ = map<std::uint8_t>(memory.bytes() / kChunk + 1);
}

std::size_t Races::shared_cells(std::uint32_t shared_bytes) { return lines_of(shared_bytes) * (1 + kLine / kWord); }

Cells Races::cells_of(Block& block) {
  Cell* const lines = reinterpret_cast<Cell*>(block.shared_cells.data());
  return {lines, lines + lines_of(block.shared_bytes), 0};
}

void Races::begin_launch() {
  blocks_.clear();
  split_words_.clear();
  releases_.clear();
  released_at_.clear();
  const bool restart = next_segment_ > (1u << 31);
  if (restart || touched_chunks_ > kMostTouchedChunks) {
    const std::uint64_t bytes = DeviceMemory::instance().bytes();
    madvise(cells_.lines, bytes / kLine * sizeof(Cell), MADV_DONTNEED);
    madvise(cells_.words, bytes / kWord * sizeof(Cell), MADV_DONTNEED);
    madvise(touched_, bytes / kChunk + 1, MADV_DONTNEED);
    touched_chunks_ = 0;
  }
  if (restart) next_segment_ = 1;
  first_ = next_segment_;
}

void Races::note_touched(const Access& access) {
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

// The words of an unsplit line hold no records of this launch.
Cell* Races::words_at(const Now& now, std::uint64_t address) {
  const std::uint64_t offset = address - now.cells.base;
  Cell& line = now.cells.lines[offset / kLine];
  if (!is_split(line, now)) {
    Cell* const words = now.cells.words + offset / kLine * (kLine / kWord);
    const auto further = [&](const Record& record, std::uint32_t word) {
      const std::uint32_t sharing = record.who & kSharingMask;
      return sharing == kWords ? word : sharing == kDoubleWords ? word / 2 : word / 4;
    };
    const bool known = line.write.segment >= now.first || line.read.segment >= now.first;
    for (std::uint32_t word = 0; known && word < kLine / kWord; ++word) {
      words[word] = line;
      for (Record* const record : {&words[word].write, &words[word].read}) {
        record->who = (record->who & ~kSharingMask) + further(*record, word);
      }
    }
    line = Cell{};
    line.write.segment = now.segment;
    line.places = kSplit;
  }
  return now.cells.words + offset / kWord;
}

Races::SplitWord& Races::bytes_of(Cell& word, const Now& now) {
  if (!is_split(word, now)) {
    const auto index = static_cast<std::uint32_t>(split_words_.size());
    SplitWord& bytes = split_words_.emplace_back(SplitWord{word, word, word, word});
    for (std::uint32_t byte = 0; byte < kWord; ++byte) {
      for (Record* const record : {&bytes[byte].write, &bytes[byte].read, &bytes[byte].strong}) {
        const std::uint32_t sharing = record->who & kSharingMask;
        record->who = (record->who & ~kSharingMask) + (sharing == kHalves ? byte / 2 : sharing == kQuarters ? byte : 0);
      }
    }
    word = Cell{};
    word.write = {now.segment, index};
    word.places = kSplit;
  }
  return split_words_[word.write.who];
}

}  // namespace simulated::ptx
