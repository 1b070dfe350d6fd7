// Which of the runnable threads of a block runs next, and in which order the blocks of a grid run.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "state.hpp"

namespace simt::detail {

// A set of thread numbers.
class Threads {
 public:
  void clear() { words_.fill(0); }
  void insert(unsigned thread) { words_[thread / 64] |= std::uint64_t{1} << (thread % 64); }
  void erase(unsigned thread) { words_[thread / 64] &= ~(std::uint64_t{1} << (thread % 64)); }
  // These give kMostThreads if there is none.
  unsigned lowest() const { return from(0); }
  unsigned highest() const {
    for (unsigned w = kWords; w-- > 0;) {
      if (words_[w] != 0) return w * 64 + 63 - static_cast<unsigned>(std::countl_zero(words_[w]));
    }
    return kMostThreads;
  }
  unsigned from(unsigned thread) const {  // the lowest that is no lower
    std::uint64_t bits = words_[thread / 64] & ~std::uint64_t{0} << (thread % 64);
    for (unsigned w = thread / 64;; bits = words_[w]) {
      if (bits != 0) return w * 64 + static_cast<unsigned>(std::countr_zero(bits));
      if (++w == kWords) return kMostThreads;
    }
  }

 private:
  static constexpr unsigned kWords = kMostThreads / 64;
  std::array<std::uint64_t, kWords> words_{};
};

class Scheduler {
 public:
  void set(Schedule schedule, std::uint64_t seed) {
    schedule_ = schedule;
    state_ = seed;
  }

  std::vector<std::uint64_t> order_of(std::uint64_t blocks) {
    std::vector<std::uint64_t> order(blocks);
    std::iota(order.begin(), order.end(), std::uint64_t{0});
    if (schedule_ == Schedule::reverse) std::reverse(order.begin(), order.end());
    if (schedule_ == Schedule::random) {
      for (std::uint64_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    }
    return order;
  }

  // Of the ready ones among `threads`; kMostThreads if there is none.
  unsigned next(const Threads& ready, unsigned threads) {
    if (schedule_ == Schedule::forward) return ready.lowest();
    if (schedule_ == Schedule::reverse) return ready.highest();
    const unsigned found = ready.from(static_cast<unsigned>(random() % threads));
    return found != kMostThreads ? found : ready.lowest();
  }

 private:
  std::uint64_t random() {  // splitmix64
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  Schedule schedule_ = Schedule::forward;
  std::uint64_t state_ = 0;
};

}  // namespace simt::detail
