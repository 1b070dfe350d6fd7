// Times the peak kernel and a memory copy on all threads.
#include "cpu/runtime/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr int kRuns = 7;

template <class F>
double seconds(const F& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

double fma_peak() {
  constexpr std::int64_t kRounds = 3'000'000;  // about 10 ms
  const std::int64_t threads = num_threads();
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> operations(static_cast<std::size_t>(threads));
    const double time = seconds([&] {
      parallel_for(threads, [&](std::int64_t t) {
        operations[static_cast<std::size_t>(t)] = peak_kernel().multiply_add(kRounds);
      });
    });
    double sum = 0;
    for (const double x : operations) sum += x;
    best = std::max(best, sum / time / 1e9);
  }
  return best;
}

double copy_rate() {
  constexpr std::int64_t kBytes = std::int64_t{128} << 20;
  constexpr std::int64_t kPiece = std::int64_t{1} << 20;
  const Scratch<char> from(kBytes), to(kBytes);
  std::memset(from.data(), 1, static_cast<std::size_t>(kBytes));
  std::memset(to.data(), 0, static_cast<std::size_t>(kBytes));
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const double time = seconds([&] {
      parallel_pieces(kBytes, kPiece, [&](std::int64_t begin, std::int64_t end) {
        std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
      });
    });
    best = std::max(best, 2 * static_cast<double>(kBytes) / time / 1e9);
  }
  return best;
}

}  // namespace descent::cpu
