// Counts the wavefronts of an access to shared memory. There are 32 banks of 4 bytes; a wavefront delivers one word of
// each bank to any number of lanes. Accesses of up to 4 bytes serve all 32 lanes at once, those of 8 bytes each half of
// the warp, those of 16 bytes each quarter. Source: NVIDIA, "CUDA C++ Programming Guide", "Shared Memory" of compute
// capability 5.x, which later ones refer to (banks, broadcast); its section on 3.x and the Kepler and Volta tuning
// guides for 64- and 128-bit accesses (halves and quarters).
#include <algorithm>

#include "ptx/traffic.h"

namespace simulated::ptx {
namespace {

constexpr std::uint64_t kBanks = 32;

// Counts the lanes [first, last) of the access, which are served together.
void count_group(const Access& access, int first, int last, SharedAccess& counted) {
  std::uint64_t words[kLanes];
  int count = 0;
  for (int lane = first; lane < last; ++lane) {
    if ((access.lanes >> lane & 1) == 0) continue;
    const std::uint64_t begin = access.addresses[lane] / kWord, each = std::max<std::uint64_t>(access.bytes / kWord, 1);
    for (std::uint64_t word = begin; word < begin + each; ++word) words[count++] = word;
  }
  if (count == 0) return;
  std::sort(words, words + count);
  std::uint64_t in_bank[kBanks] = {}, most = 0, distinct = 0;
  for (int n = 0; n < count; ++n) {
    if (n > 0 && words[n] == words[n - 1]) continue;
    ++distinct;
    most = std::max(most, ++in_bank[words[n] % kBanks]);
  }
  counted.wavefronts += most;
  counted.fewest += (distinct + kBanks - 1) / kBanks;
}

}  // namespace

void count_shared(const Access& access, SharedAccess& counted) {
  ++counted.requests;
  counted.bytes += access.bytes * static_cast<std::uint64_t>(__builtin_popcount(access.lanes));
  const int together = access.bytes == 16 ? 8 : access.bytes == 8 ? 16 : 32;
  for (int first = 0; first < kLanes; first += together) count_group(access, first, first + together, counted);
}

}  // namespace simulated::ptx
