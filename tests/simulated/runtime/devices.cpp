// The devices and their properties. Source: CUDA Runtime API, "Device Management"; capability.h has the numbers.
// Properties that a simulated device lacks (clocks, textures, a bus) are 0 in cudaDeviceProp and refused by
// cudaDeviceGetAttribute.
#include <algorithm>
#include <cstring>
#include <optional>

#include "ptx/launch_limits.h"
#include "ptx/warp.h"
#include "runtime/api.h"
#include "runtime/capability.h"
#include "runtime/queue.h"

namespace simulated {
namespace {

constexpr int kMostGridX = static_cast<int>(ptx::kMostGridX), kMostGridYZ = static_cast<int>(ptx::kMostGridYZ);
constexpr int kMostBlockXY = static_cast<int>(ptx::kMostBlockXY), kMostBlockZ = static_cast<int>(ptx::kMostBlockZ);
constexpr int kMostThreads = static_cast<int>(ptx::kMostThreads);
constexpr int kConstantBytes = 64 * 1024;

thread_local int chosen_device = 0;

bool is_device(int device) { return device >= 0 && device < settings().devices; }

std::optional<int> attribute_of(cudaDeviceAttr attribute) {
  const Capability limits = capability_limits(settings().capability);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return settings().capability / 10;
    case cudaDevAttrComputeCapabilityMinor:
      return settings().capability % 10;
    case cudaDevAttrMultiProcessorCount:
      return settings().multiprocessors;
    case cudaDevAttrWarpSize:
      return ptx::kLanes;
    case cudaDevAttrMaxThreadsPerBlock:
      return kMostThreads;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      return kMostBlockXY;
    case cudaDevAttrMaxBlockDimZ:
      return kMostBlockZ;
    case cudaDevAttrMaxGridDimX:
      return kMostGridX;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return kMostGridYZ;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return limits.threads;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return limits.blocks;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return static_cast<int>(ptx::kMostStaticShared);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(limits.optin_bytes);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(limits.shared_bytes);
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return static_cast<int>(limits.reserved_bytes);
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return kRegisters;
    case cudaDevAttrTotalConstantMemory:
      return kConstantBytes;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrAsyncEngineCount:
    case cudaDevAttrGlobalL1CacheSupported:
    case cudaDevAttrLocalL1CacheSupported:
      return 1;
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrIntegrated:
    case cudaDevAttrEccEnabled:
    case cudaDevAttrComputeMode:
      return 0;
    default:
      return std::nullopt;
  }
}

cudaDeviceProp properties() {
  const Capability limits = capability_limits(settings().capability);
  cudaDeviceProp p;
  std::memset(&p, 0, sizeof p);
  std::strcpy(p.name, "simulated device");
  p.totalGlobalMem = settings().memory;
  p.sharedMemPerBlock = ptx::kMostStaticShared;
  p.sharedMemPerBlockOptin = limits.optin_bytes;
  p.sharedMemPerMultiprocessor = limits.shared_bytes;
  p.reservedSharedMemPerBlock = limits.reserved_bytes;
  p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
  p.warpSize = ptx::kLanes;
  p.maxThreadsPerBlock = kMostThreads;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = kMostBlockXY;
  p.maxThreadsDim[2] = kMostBlockZ;
  p.maxGridSize[0] = kMostGridX;
  p.maxGridSize[1] = p.maxGridSize[2] = kMostGridYZ;
  p.maxThreadsPerMultiProcessor = limits.threads;
  p.maxBlocksPerMultiProcessor = limits.blocks;
  p.totalConstMem = kConstantBytes;
  p.major = settings().capability / 10;
  p.minor = settings().capability % 10;
  p.multiProcessorCount = settings().multiprocessors;
  p.unifiedAddressing = p.concurrentKernels = p.asyncEngineCount = 1;
  p.globalL1CacheSupported = p.localL1CacheSupported = 1;
  return p;
}

}  // namespace

int current_device() { return chosen_device; }

}  // namespace simulated

using namespace simulated;

SIMULATED_API cudaError_t cudaGetDeviceCount(int* count) {
  return api("cudaGetDeviceCount", Needs::nothing, [&] {
    if (count == nullptr) return cudaErrorInvalidValue;
    *count = settings().devices;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
  });
}

// Per host thread; initially the first device.
SIMULATED_API cudaError_t cudaSetDevice(int device) {
  return api("cudaSetDevice", Needs::device, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    chosen_device = device;
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaGetDevice(int* device) {
  return api("cudaGetDevice", Needs::nothing, [&] {
    if (device == nullptr) return cudaErrorInvalidValue;
    if (settings().devices == 0) return cudaErrorNoDevice;
    *device = current_device();
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return api("cudaDeviceGetAttribute", Needs::device, [&] {
    if (value == nullptr) return cudaErrorInvalidValue;
    if (!is_device(device)) return cudaErrorInvalidDevice;
    const std::optional<int> known = attribute_of(attribute);
    if (!known) {
      explain("cudaDeviceGetAttribute: attribute " + std::to_string(static_cast<int>(attribute)) + " is not simulated");
      return cudaErrorNotSupported;
    }
    *value = *known;
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  return api("cudaGetDeviceProperties", Needs::device, [&] {
    if (p == nullptr) return cudaErrorInvalidValue;
    if (!is_device(device)) return cudaErrorInvalidDevice;
    *p = properties();
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaRuntimeGetVersion(int* version) {
  return api("cudaRuntimeGetVersion", Needs::nothing, [&] {
    if (version == nullptr) return cudaErrorInvalidValue;
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

// "If no driver is installed, then 0 is returned as the driver version": the simulated one has the runtime's version.
SIMULATED_API cudaError_t cudaDriverGetVersion(int* version) {
  return api("cudaDriverGetVersion", Needs::nothing, [&] {
    if (version == nullptr) return cudaErrorInvalidValue;
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

// There is no driver below this runtime, so lookups find nothing: "cudaDriverEntryPointSymbolNotFound: the requested
// symbol was not found". An error status would remain as the last error, and CUB would mistake it for its own.
SIMULATED_API cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                                           unsigned long long,
                                                           cudaDriverEntryPointQueryResult* result) {
  return api("cudaGetDriverEntryPointByVersion", Needs::nothing, [&] {
    if (symbol == nullptr || function == nullptr) return cudaErrorInvalidValue;
    *function = nullptr;
    if (result == nullptr) return cudaErrorSymbolNotFound;
    *result = cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
  });
}
