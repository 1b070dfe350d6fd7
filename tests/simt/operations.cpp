// What kernels call to wait for their block or warp, and what they get of it.
#include "block.hpp"

namespace simt::detail {
namespace {

Request& ask_warp(const char* call, unsigned mask, const Site& site) {
  current.watching = false;
  Request& mine = block.request();
  mine.call = call;
  mine.site = site;
  mine.mask = mask;
  mine.predicate = mine.orders = false;
  return mine;
}

unsigned lane_of() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kLanes; }

}  // namespace

int block_barrier(const char* call, Vote vote, bool predicate, const Site& site) {
  current.watching = false;
  Request& mine = block.request();
  mine.call = call;
  mine.site = site;
  mine.predicate = predicate;
  block.wait_for_block();
  const auto count = static_cast<int>(mine.value);
  if (vote == Vote::any) return count != 0 ? 1 : 0;
  if (vote == Vote::all) return count == static_cast<int>(block.threads()) ? 1 : 0;
  return count;
}

unsigned warp_ballot(const char* call, unsigned mask, bool predicate, const Site& site) {
  Request& mine = ask_warp(call, mask, site);
  mine.source = lane_of();
  mine.predicate = predicate;
  block.wait_for_warp();
  return mine.mask;
}

std::uint64_t warp_shuffle(const char* call, Shuffle how, unsigned mask, std::uint64_t value, unsigned argument,
                           int width, const Site& site) {
  Request& mine = ask_warp(call, mask, site);
  if (width < 1 || width > 32 || !std::has_single_bit(static_cast<unsigned>(width))) {
    block.fail(call_text(mine) + ": the width is " + std::to_string(width) + ", not a power of two up to 32");
  }
  const unsigned lane = lane_of(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned last = segment + static_cast<unsigned>(width) - 1;
  mine.source = lane;  // of its own value, where CUDA says so
  switch (how) {
    case Shuffle::index:
      mine.source = segment + (argument & (static_cast<unsigned>(width) - 1));
      break;
    case Shuffle::up:
      if (argument <= lane - segment) mine.source = lane - argument;
      break;
    case Shuffle::down:
      if (argument <= last - lane) mine.source = lane + argument;
      break;
    case Shuffle::exclusive_or:
      if ((lane ^ argument) <= last) mine.source = lane ^ argument;
      break;
  }
  mine.value = value;
  block.wait_for_warp();
  return mine.value;
}

void warp_barrier(unsigned mask, const Site& site) {
  Request& mine = ask_warp("__syncwarp", mask, site);
  mine.source = lane_of();
  mine.orders = true;
  block.wait_for_warp();
}

}  // namespace simt::detail
