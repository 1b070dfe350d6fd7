// Counts a launch's memory accesses.
#include "ptx/counters.h"

#include <sys/mman.h>

#include <algorithm>

#include "ptx/traffic.h"

namespace simulated::ptx {
namespace {

constexpr std::uint64_t kSector = 32;

GlobalAccess& operator+=(GlobalAccess& a, const GlobalAccess& b) {
  a.requests += b.requests;
  a.bytes += b.bytes;
  a.sectors += b.sectors;
  a.fewest += b.fewest;
  a.distinct_sectors += b.distinct_sectors;
  return a;
}

SharedAccess& operator+=(SharedAccess& a, const SharedAccess& b) {
  a.requests += b.requests;
  a.bytes += b.bytes;
  a.wavefronts += b.wavefronts;
  a.fewest += b.fewest;
  return a;
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  warp_instructions += other.warp_instructions;
  thread_instructions += other.thread_instructions;
  branches += other.branches;
  divergent_branches += other.divergent_branches;
  barriers += other.barriers;
  flops_f32 += other.flops_f32;
  flops_f64 += other.flops_f64;
  loads += other.loads;
  stores += other.stores;
  atomics += other.atomics;
  shared_loads += other.shared_loads;
  shared_stores += other.shared_stores;
  local_bytes += other.local_bytes;
  return *this;
}

// Never destroyed, like the device memory.
Traffic& Traffic::instance() {
  static Traffic& traffic = *new Traffic;
  return traffic;
}

Traffic::Traffic() {
  const std::uint64_t bytes = DeviceMemory::instance().bytes() / kSector * sizeof(std::uint32_t);
  for (std::uint32_t*& launches : launches_) {
    void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw Error(FaultKind::other, "no address space to count in (SIMULATED_COUNTERS=off)");
    madvise(at, bytes, MADV_DONTDUMP);
    launches = static_cast<std::uint32_t*>(at);
  }
}

void Traffic::begin_launch() {
  ++launch_;
  counters_ = {};
}

void Traffic::access(const Access& access) {
  switch (access.space) {
    case Space::global:
      global(access);
      break;
    case Space::shared:  // an atomic update counts as a load and a store
      if (access.effect != Effect::store) count_shared(access, counters_.shared_loads);
      if (access.effect != Effect::load) count_shared(access, counters_.shared_stores);
      break;
    case Space::local:
      counters_.local_bytes += access.bytes * static_cast<std::uint64_t>(__builtin_popcount(access.lanes));
      break;
    case Space::param:
      break;
  }
}

// Accesses of one width, aligned to it: two lanes' are identical or disjoint, and none spans two sectors.
void Traffic::global(const Access& access) {
  const int kind = static_cast<int>(access.effect);
  GlobalAccess& counted = kind == 0 ? counters_.loads : kind == 1 ? counters_.stores : counters_.atomics;
  const std::uint64_t base = DeviceMemory::instance().base();
  std::uint64_t sorted[kLanes];
  int lanes = 0;
  for_lanes(access.lanes, [&](int lane) { sorted[lanes++] = access.addresses[lane] - base; });
  std::sort(sorted, sorted + lanes);
  std::uint64_t places = 0, sectors = 0;
  for (int n = 0; n < lanes; ++n) {
    if (n > 0 && sorted[n] == sorted[n - 1]) continue;
    ++places;
    const std::uint64_t sector = sorted[n] / kSector;
    if (n > 0 && sector == sorted[n - 1] / kSector) continue;
    ++sectors;
    std::uint32_t& launch = launches_[kind][sector];
    counted.distinct_sectors += launch != launch_;
    launch = launch_;
  }
  ++counted.requests;
  counted.bytes += access.bytes * static_cast<std::uint64_t>(lanes);
  counted.sectors += sectors;
  counted.fewest += (places * access.bytes + kSector - 1) / kSector;
}

}  // namespace simulated::ptx
