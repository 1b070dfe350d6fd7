// Copies and memsets. Source: CUDA Runtime API, "API synchronization behavior" (which calls wait), cudaMemcpy,
// cudaMemcpyAsync and cudaMemset.
#include <cstring>
#include <string>

#include "device_memory.h"
#include "runtime/api.h"
#include "runtime/capture.h"
#include "runtime/host_memory.h"
#include "runtime/modules.h"

namespace simulated {
namespace {

std::uint64_t number(const void* address) { return reinterpret_cast<std::uint64_t>(address); }

bool on_device(const void* address) { return DeviceMemory::instance().contains(number(address)); }

// Whether the device's bytes all belong to one allocation. The driver knows allocations, so the call itself fails.
bool within_allocation(const char* function, const void* address, std::uint64_t bytes) {
  std::string problem;
  if (DeviceMemory::instance().accessible(number(address), bytes, problem)) return true;
  explain(std::string(function) + ": " + problem);
  return false;
}

// Reports memory that was pinned when the copy was queued, and has been freed since.
bool still_pinned(const HostRange& range, const char* what) {
  if (range.begin == range.end || is_pinned(reinterpret_cast<void*>(range.begin), range.end - range.begin)) return true;
  report_fault(cudaErrorIllegalAddress, std::string(what) + ": the pinned memory of the host was freed");
  return false;
}

struct Copy {
  void* to;
  const void* from;
  std::uint64_t bytes;
};

HostRange pinned_range(const void* address, std::uint64_t bytes) {
  return is_pinned(address, bytes) ? HostRange{number(address), number(address) + bytes} : HostRange{};
}

// Pageable memory is staged, so the source may be changed as soon as the call returns. A graph stages nothing: it reads
// the source whenever it runs.
std::shared_ptr<CUgraphNode_st> copy_to_device(const Copy& copy, bool staged) {
  auto node = std::make_shared<CUgraphNode_st>();
  std::shared_ptr<std::string> bytes;
  node->reads = pinned_range(copy.from, copy.bytes);
  if (staged && node->reads.begin == node->reads.end) {
    bytes = std::make_shared<std::string>(static_cast<const char*>(copy.from), copy.bytes);
  }
  node->task.name = "copy to the device";
  node->task.run = [copy, bytes, source = node->reads](Work& work) {
    work.bytes = copy.bytes;
    if (!still_pinned(source, "a copy to the device")) return;
    char* const to = device_write(copy.to, copy.bytes, "a copy to the device");
    if (to != nullptr) std::memcpy(to, bytes != nullptr ? bytes->data() : copy.from, copy.bytes);
  };
  return node;
}

std::shared_ptr<CUgraphNode_st> copy_to_host(const Copy& copy) {
  auto node = std::make_shared<CUgraphNode_st>();
  node->writes = pinned_range(copy.to, copy.bytes);
  node->task.name = "copy to the host";
  node->task.run = [copy, target = node->writes](Work& work) {
    work.bytes = copy.bytes;
    if (!still_pinned(target, "a copy to the host")) return;
    const char* const from = device_read(copy.from, copy.bytes, "a copy to the host");
    if (from != nullptr) std::memcpy(copy.to, from, copy.bytes);
  };
  return node;
}

// Uninitialized bytes stay uninitialized in the copy.
std::shared_ptr<CUgraphNode_st> copy_within_device(const Copy& copy) {
  auto node = std::make_shared<CUgraphNode_st>();
  node->task.name = "copy within the device";
  node->task.run = [copy](Work& work) {
    const DeviceMemory& memory = DeviceMemory::instance();
    std::string problem;
    work.bytes = 2 * copy.bytes;
    for (const void* const address : {copy.from, static_cast<const void*>(copy.to)}) {
      if (memory.accessible(number(address), copy.bytes, problem)) continue;
      return report_fault(cudaErrorIllegalAddress, "a copy within the device: " + problem);
    }
    std::memcpy(memory.host(number(copy.to)), memory.host(number(copy.from)), copy.bytes);
    std::memcpy(memory.shadow(number(copy.to)), memory.shadow(number(copy.from)), copy.bytes);
  };
  return node;
}

std::shared_ptr<CUgraphNode_st> copy_within_host(const Copy& copy) {
  auto node = std::make_shared<CUgraphNode_st>();
  node->reads = pinned_range(copy.from, copy.bytes);
  node->writes = pinned_range(copy.to, copy.bytes);
  node->task.name = "copy within the host";
  node->task.run = [copy](Work&) { std::memcpy(copy.to, copy.from, copy.bytes); };
  return node;
}

// Replaces cudaMemcpyDefault in `kind`, "in which case the type of transfer is inferred from the pointer values". If
// the pointers do not match the kind, "the behavior is undefined": refused here.
cudaError_t check_kind(const char* function, const Copy& copy, cudaMemcpyKind& kind) {
  const bool to_device = on_device(copy.to), from_device = on_device(copy.from);
  const cudaMemcpyKind fitting = to_device     ? from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
                                 : from_device ? cudaMemcpyDeviceToHost
                                               : cudaMemcpyHostToHost;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (kind != cudaMemcpyDefault && kind != fitting) {
    explain(std::string(function) + ": the pointers do not match the kind of the copy");
    return cudaErrorInvalidValue;
  }
  kind = fitting;
  if ((to_device && !within_allocation(function, copy.to, copy.bytes)) ||
      (from_device && !within_allocation(function, copy.from, copy.bytes))) {
    return cudaErrorInvalidValue;
  }
  const std::uint64_t to = number(copy.to), from = number(copy.from);
  if (to < from + copy.bytes && from < to + copy.bytes) {  // "The memory areas may not overlap"
    explain(std::string(function) + ": the memory areas overlap");
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t copy(const char* function, const Copy& copy, cudaMemcpyKind kind, cudaStream_t handle, bool synchronous) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
  if (copy.bytes == 0) return cudaSuccess;
  if (const cudaError_t status = check_kind(function, copy, kind); status != cudaSuccess) return status;
  const bool captured = stream->capture != nullptr;
  std::shared_ptr<CUgraphNode_st> node;
  // cudaMemcpy waits for completion, except within the device and from pageable memory, where staging is enough.
  // cudaMemcpyAsync also waits if the copy is to pageable memory or within the host.
  bool waits = synchronous;
  switch (kind) {
    case cudaMemcpyHostToDevice:
      node = copy_to_device(copy, !captured);
      waits = synchronous && node->reads.begin != node->reads.end;
      break;
    case cudaMemcpyDeviceToHost:
      node = copy_to_host(copy);
      waits = synchronous || node->writes.begin == node->writes.end;
      break;
    case cudaMemcpyDeviceToDevice:
      node = copy_within_device(copy);
      waits = false;
      break;
    default:
      node = copy_within_host(copy);
      waits = true;
  }
  node->task.kind = WorkKind::copy;
  node->type = cudaGraphNodeTypeMemcpy;
  std::shared_ptr<Operation> operation;
  if (const cudaError_t status = submit(*stream, {std::move(node)}, {}, &operation); status != cudaSuccess) {
    return status;
  }
  if (waits) run_until_done(operation);
  return cudaSuccess;
}

// cudaMemset also "is asynchronous with respect to the host unless devPtr refers to pinned host memory".
cudaError_t set(const char* function, void* address, int value, std::uint64_t bytes, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
  if (bytes == 0) return cudaSuccess;
  if (!within_allocation(function, address, bytes)) return cudaErrorInvalidValue;
  auto node = std::make_shared<CUgraphNode_st>();
  node->type = cudaGraphNodeTypeMemset;
  node->task = {WorkKind::memset, "memset", [=](Work& work) {
                  work.bytes = bytes;
                  char* const to = device_write(address, bytes, "a memset");
                  if (to != nullptr) std::memset(to, value, bytes);
                }};
  return submit(*stream, {std::move(node)});
}

// Computes the address `offset` bytes into a device variable, or returns cudaErrorInvalidSymbol.
cudaError_t within_symbol(const void* symbol, std::uint64_t bytes, std::uint64_t offset, void*& address) {
  Variable variable;
  if (const cudaError_t status = find_variable(symbol, variable); status != cudaSuccess) return status;
  if (offset > variable.bytes || bytes > variable.bytes - offset) return cudaErrorInvalidValue;
  address = reinterpret_cast<void*>(variable.address + offset);
  return cudaSuccess;
}

}  // namespace
}  // namespace simulated

using namespace simulated;

SIMULATED_API cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                          cudaStream_t stream) {
  return api("cudaMemcpyAsync", Needs::device, [&] {
    return copy("cudaMemcpyAsync", {to, from, bytes}, kind, stream, false);
  });
}

SIMULATED_API cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return api("cudaMemcpy", Needs::no_capture, [&] {
    return copy("cudaMemcpy", {to, from, bytes}, kind, nullptr, true);
  });
}

SIMULATED_API cudaError_t cudaMemsetAsync(void* address, int value, std::size_t bytes, cudaStream_t stream) {
  return api("cudaMemsetAsync", Needs::device, [&] { return set("cudaMemsetAsync", address, value, bytes, stream); });
}

SIMULATED_API cudaError_t cudaMemset(void* address, int value, std::size_t bytes) {
  return api("cudaMemset", Needs::no_capture, [&] { return set("cudaMemset", address, value, bytes, nullptr); });
}

SIMULATED_API cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t bytes,
                                             std::size_t offset, cudaMemcpyKind kind) {
  return api("cudaMemcpyToSymbol", Needs::no_capture, [&] {
    void* to = nullptr;
    if (const cudaError_t status = within_symbol(symbol, bytes, offset, to); status != cudaSuccess) return status;
    return copy("cudaMemcpyToSymbol", {to, from, bytes}, kind, nullptr, true);
  });
}

SIMULATED_API cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                               cudaMemcpyKind kind) {
  return api("cudaMemcpyFromSymbol", Needs::no_capture, [&] {
    void* from = nullptr;
    if (const cudaError_t status = within_symbol(symbol, bytes, offset, from); status != cudaSuccess) return status;
    return copy("cudaMemcpyFromSymbol", {to, from, bytes}, kind, nullptr, true);
  });
}
