// What the race checker remembers of each byte that a kernel touched.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

namespace simt::detail {

enum class Kind : std::uint8_t { read, write, atomic };

struct Access {
  std::uint32_t block = 0;       // counted over all launches of the process, from 1
  std::uint32_t epoch = 0;       // of the block: __syncthreads it has gone through
  std::uint32_t warp_epoch = 0;  // of the warp: __syncwarp
  std::uint32_t pc = 0;          // relative to the program's start
  std::uint16_t thread = 0;
};

inline bool unordered(const Access& a, const Access& b) {
  if (a.block != b.block) return true;
  return a.epoch == b.epoch && a.thread != b.thread && (a.thread / 32 != b.thread / 32 || a.warp_epoch == b.warp_epoch);
}

// Two accesses of one kind suffice: kept so that a later one conflicts with one of the two if it conflicts with any.
using Pair = std::array<Access, 2>;

// Adds an access; what is older than the block `first` has no meaning any more.
inline void remember(Pair& pair, const Access& now, std::uint32_t first) {
  const auto counts = [&](const Access& a) {
    return a.block >= first && (a.block != now.block || a.epoch == now.epoch);
  };
  // Unordered with every thread of this one's warp too, now and later.
  const auto far = [&](const Access& a) { return a.block != now.block || a.thread / 32 != now.thread / 32; };
  const bool same_thread = pair[0].block == now.block && pair[0].thread == now.thread;
  if (counts(pair[0]) && !same_thread && !(counts(pair[1]) && far(pair[1]))) pair[1] = pair[0];
  pair[0] = now;
}

struct Cell {
  Access write;
  Pair reads, atomics;
};

// Cells for four bytes at once as long as they are accessed together, and for single bytes from then on.
class Shadow {
 public:
  // f(cell, first byte) for every cell of the bytes.
  template <class F>
  void for_cells(std::uintptr_t byte, std::size_t size, F&& f) {
    const std::uintptr_t end = byte + size;
    while (byte < end) {
      Word& word = word_of(byte);
      if (byte % 4 == 0 && end - byte >= 4 && word.bytes == nullptr) {
        f(word.whole, byte);
        byte += 4;
        continue;
      }
      if (word.bytes == nullptr) {
        split_.push_back({word.whole, word.whole, word.whole, word.whole});
        word.bytes = &split_.back();
      }
      do {
        f((*word.bytes)[byte % 4], byte);
        ++byte;
      } while (byte < end && byte % 4 != 0);
    }
  }

 private:
  using Bytes = std::array<Cell, 4>;
  struct Word {
    Cell whole;
    Bytes* bytes = nullptr;
  };
  static constexpr std::uintptr_t kPage = 1024;
  using Page = std::array<Word, kPage / 4>;

  Word& word_of(std::uintptr_t byte) {
    const std::uintptr_t number = byte / kPage;
    Recent& recent = recent_[number % recent_.size()];
    if (recent.page == nullptr || recent.number != number) {
      std::unique_ptr<Page>& page = pages_[number];
      if (page == nullptr) page = std::make_unique<Page>();
      recent = {number, page.get()};
    }
    return (*recent.page)[byte % kPage / 4];
  }

  struct Recent {
    std::uintptr_t number = 0;
    Page* page = nullptr;
  };
  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  std::array<Recent, 256> recent_;
  std::deque<Bytes> split_;
};

}  // namespace simt::detail
