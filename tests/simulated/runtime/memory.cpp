// Device memory. Source: CUDA Runtime API, "Memory Management".
#include <string>

#include "device_memory.h"
#include "runtime/allocations.h"
#include "runtime/api.h"
#include "runtime/queue.h"

namespace simulated {
namespace {

constexpr std::uint64_t kAlignment = 256;  // "at least 256 bytes" (Programming Guide, "Device Memory Accesses")

std::uint64_t used(int device) {
  std::uint64_t bytes = 0;
  for (const auto& [address, allocation] : allocations()) {
    if (device < 0 || allocation.device == device) bytes += allocation.bytes;
  }
  return bytes;
}

cudaError_t allocate(void** address, std::uint64_t bytes) {
  if (address == nullptr) return cudaErrorInvalidValue;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::uint64_t in_use = used(current_device());
  if (in_use > settings().memory || bytes > settings().memory - in_use) return cudaErrorMemoryAllocation;
  const std::uint64_t at = DeviceMemory::instance().allocate(bytes, kAlignment);
  if (at == 0) {
    explain("cudaMalloc: all addresses are used up, because none is used twice");
    return cudaErrorMemoryAllocation;
  }
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.device = current_device();
  allocations()[at] = allocation;
  *address = reinterpret_cast<void*>(at);
  return cudaSuccess;
}

void release(std::uint64_t address) {
  const auto it = allocations().find(address);
  if (it == allocations().end()) return;
  DeviceMemory::instance().release(address, it->second.bytes);
  allocations().erase(it);
}

// What is wrong with an address to be freed; empty if nothing is.
std::string problem_with(std::uint64_t address) {
  const auto it = allocations().find(address);
  if (it != allocations().end()) return "";
  const DeviceMemory& memory = DeviceMemory::instance();
  if (!memory.contains(address)) return "not device memory";
  if ((*memory.shadow(address) & kAccessible) != 0) return "not the beginning of an allocation";
  return "freed before, or never allocated";
}

}  // namespace

std::map<std::uint64_t, Allocation>& allocations() {
  static std::map<std::uint64_t, Allocation>& all = *new std::map<std::uint64_t, Allocation>;
  return all;
}

int device_of(std::uint64_t address) {
  auto it = allocations().upper_bound(address);
  if (it == allocations().begin()) return -1;
  --it;
  return address - it->first < it->second.bytes ? it->second.device : -1;
}

std::uint64_t allocated_bytes() {
  const std::lock_guard lock(device_mutex());
  return used(-1);
}

const char* device_read(const void* address, std::uint64_t bytes, const std::string& who) {
  std::string problem;
  const char* const data = DeviceMemory::instance().read(reinterpret_cast<std::uint64_t>(address), bytes, problem);
  if (data == nullptr) report_fault(cudaErrorIllegalAddress, who + " reads: " + problem);
  return data;
}

char* device_write(void* address, std::uint64_t bytes, const std::string& who) {
  std::string problem;
  char* const data = DeviceMemory::instance().write(reinterpret_cast<std::uint64_t>(address), bytes, problem);
  if (data == nullptr) report_fault(cudaErrorIllegalAddress, who + " writes: " + problem);
  return data;
}

}  // namespace simulated

using namespace simulated;

// Unsafe during stream capture: the Programming Guide's example ("cudaMalloc() ... may be unsafe").
SIMULATED_API cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  return api("cudaMalloc", Needs::no_capture, [&] { return allocate(address, bytes); });
}

// Waits for the device first ("this API may perform implicit synchronization").
SIMULATED_API cudaError_t cudaFree(void* address) {
  return api("cudaFree", Needs::no_capture, [&] {
    if (address == nullptr) return cudaSuccess;
    const auto at = reinterpret_cast<std::uint64_t>(address);
    if (const std::string problem = problem_with(at); !problem.empty()) {
      explain("cudaFree: " + problem);
      return cudaErrorInvalidValue;
    }
    run_all(allocations().at(at).device);
    if (sticky_error() == cudaSuccess) release(at);
    return sticky_error();
  });
}

SIMULATED_API cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return api("cudaMemGetInfo", Needs::device, [&] {
    if (free == nullptr || total == nullptr) return cudaErrorInvalidValue;
    const std::uint64_t in_use = used(current_device());
    *total = settings().memory;
    *free = *total > in_use ? *total - in_use : 0;
    return cudaSuccess;
  });
}
