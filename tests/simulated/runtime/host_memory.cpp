// Page-locked host memory. Source: CUDA Runtime API, cudaHostAlloc, cudaFreeHost and cudaPointerGetAttributes.
#include "runtime/host_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <map>

#include "device_memory.h"
#include "runtime/allocations.h"
#include "runtime/api.h"

namespace simulated {
namespace {

std::map<std::uint64_t, std::uint64_t>& pinned() {  // address, bytes
  static std::map<std::uint64_t, std::uint64_t>& all = *new std::map<std::uint64_t, std::uint64_t>;
  return all;
}

// Uses mmap, so that accesses after cudaFreeHost fault immediately.
cudaError_t allocate(void** address, std::size_t bytes) {
  if (address == nullptr) return cudaErrorInvalidValue;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return cudaErrorMemoryAllocation;
  std::memset(at, kPoison, bytes);
  pinned()[reinterpret_cast<std::uint64_t>(at)] = bytes;
  *address = at;
  return cudaSuccess;
}

}  // namespace

bool is_pinned(const void* address, std::uint64_t bytes) {
  const auto at = reinterpret_cast<std::uint64_t>(address);
  auto it = pinned().upper_bound(at);
  if (it == pinned().begin()) return false;
  --it;
  return at - it->first <= it->second && bytes <= it->second - (at - it->first);
}

void poison_host(const HostRange& range) {
  void* const at = reinterpret_cast<void*>(range.begin);
  if (is_pinned(at, range.end - range.begin)) std::memset(at, kPoison, range.end - range.begin);
}

}  // namespace simulated

using namespace simulated;

SIMULATED_API cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  return api("cudaHostAlloc", Needs::no_capture, [&] {
    constexpr unsigned kKnown = cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if ((flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    if ((flags & cudaHostAllocMapped) != 0) {  // cudaDevAttrCanMapHostMemory is 0
      explain("cudaHostAlloc: mapped memory is not simulated");
      return cudaErrorNotSupported;
    }
    return allocate(address, bytes);
  });
}

SIMULATED_API cudaError_t cudaMallocHost(void** address, std::size_t bytes) {
  return api("cudaMallocHost", Needs::no_capture, [&] { return allocate(address, bytes); });
}

// Waits for all devices, because a copy may still use the memory.
SIMULATED_API cudaError_t cudaFreeHost(void* address) {
  return api("cudaFreeHost", Needs::no_capture, [&] {
    if (address == nullptr) return cudaSuccess;
    const auto it = pinned().find(reinterpret_cast<std::uint64_t>(address));
    if (it == pinned().end()) return cudaErrorInvalidValue;
    for (int device = 0; device < settings().devices; ++device) run_all(device);
    munmap(address, it->second);
    pinned().erase(it);
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return api("cudaPointerGetAttributes", Needs::device, [&] {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    std::memset(attributes, 0, sizeof *attributes);
    attributes->device = current_device();
    attributes->type = cudaMemoryTypeUnregistered;
    if (const int device = device_of(reinterpret_cast<std::uint64_t>(address)); device >= 0) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->device = device;
      attributes->devicePointer = const_cast<void*>(address);
    } else if (is_pinned(address, 1)) {
      attributes->type = cudaMemoryTypeHost;
      attributes->hostPointer = const_cast<void*>(address);
    } else {
      attributes->device = cudaInvalidDeviceId;
      attributes->hostPointer = const_cast<void*>(address);
    }
    return cudaSuccess;
  });
}
