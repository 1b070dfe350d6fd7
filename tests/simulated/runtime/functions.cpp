// Attributes and occupancy of kernels. Source: CUDA Runtime API, "Execution Control" and "Occupancy".
#include <algorithm>
#include <cstring>

#include "ptx/launch_limits.h"
#include "ptx/warp.h"
#include "runtime/api.h"
#include "runtime/capability.h"
#include "runtime/modules.h"

namespace simulated {
namespace {

std::uint32_t optin_limit(const ptx::Kernel& kernel) {
  const std::uint32_t optin = capability_limits(settings().capability).optin_bytes;
  return optin > kernel.shared_bytes ? optin - kernel.shared_bytes : 0;
}

// ptxas assigns registers and PTX does not show them: they limit nothing here, and numRegs stays 0.
cudaError_t attributes_of(cudaFuncAttributes& attributes, const void* host_function) {
  Function* function = nullptr;
  if (const cudaError_t status = find_kernel(host_function, function); status != cudaSuccess) return status;
  const ptx::Kernel& kernel = *function->kernel;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.sharedSizeBytes = kernel.shared_bytes;
  attributes.localSizeBytes = kernel.local_bytes;
  attributes.maxThreadsPerBlock = static_cast<int>(std::min(kernel.max_threads, ptx::kMostThreads));
  attributes.ptxVersion = function->module->target();
  attributes.binaryVersion = settings().capability;
  const std::uint32_t without_asking = ptx::kMostStaticShared - kernel.shared_bytes;
  attributes.maxDynamicSharedSizeBytes = static_cast<int>(std::max(without_asking, function->dynamic_limit));
  attributes.preferredShmemCarveout = cudaSharedmemCarveoutDefault;
  return cudaSuccess;
}

cudaError_t set_attribute(const void* host_function, cudaFuncAttribute attribute, int value) {
  Function* function = nullptr;
  if (const cudaError_t status = find_kernel(host_function, function); status != cudaSuccess) return status;
  switch (attribute) {
    // "The sum of this value and the function attribute sharedSizeBytes cannot exceed the device attribute
    // cudaDevAttrMaxSharedMemoryPerBlockOptin."
    case cudaFuncAttributeMaxDynamicSharedMemorySize:
      if (value < 0 || static_cast<std::uint32_t>(value) > optin_limit(*function->kernel)) return cudaErrorInvalidValue;
      function->dynamic_limit = static_cast<std::uint32_t>(value);
      return cudaSuccess;
    case cudaFuncAttributePreferredSharedMemoryCarveout:  // "This is only a hint"
      return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
    default:
      explain("cudaFuncSetAttribute: attribute " + std::to_string(static_cast<int>(attribute)) + " is not simulated");
      return cudaErrorNotSupported;
  }
}

// Limited by threads (in whole warps), blocks and shared memory.
cudaError_t occupancy(int* blocks, const void* host_function, int block_threads, std::size_t dynamic_shared) {
  Function* function = nullptr;
  if (blocks == nullptr || block_threads <= 0) return cudaErrorInvalidValue;
  if (const cudaError_t status = find_kernel(host_function, function); status != cudaSuccess) return status;
  *blocks = 0;
  if (block_threads > static_cast<int>(std::min(function->kernel->max_threads, ptx::kMostThreads))) {
    return cudaSuccess;
  }
  const Capability limits = capability_limits(settings().capability);
  const std::uint64_t shared = function->kernel->shared_bytes + dynamic_shared;
  if (shared > limits.optin_bytes) return cudaSuccess;
  const int by_threads = limits.threads / ((block_threads + ptx::kLanes - 1) / ptx::kLanes * ptx::kLanes);
  *blocks = std::min(by_threads, limits.blocks);
  if (const std::uint64_t each = shared + limits.reserved_bytes; each > 0) {
    *blocks = static_cast<int>(std::min<std::uint64_t>(limits.shared_bytes / each, static_cast<unsigned>(*blocks)));
  }
  return cudaSuccess;
}

}  // namespace
}  // namespace simulated

using namespace simulated;

SIMULATED_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* host_function) {
  return api("cudaFuncGetAttributes", Needs::device,
             [&] { return attributes == nullptr ? cudaErrorInvalidValue : attributes_of(*attributes, host_function); });
}

SIMULATED_API cudaError_t cudaFuncSetAttribute(const void* host_function, cudaFuncAttribute attribute, int value) {
  return api("cudaFuncSetAttribute", Needs::device, [&] { return set_attribute(host_function, attribute, value); });
}

SIMULATED_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* host_function,
                                                                        int block_threads, std::size_t dynamic_shared) {
  return api("cudaOccupancyMaxActiveBlocksPerMultiprocessor", Needs::device,
             [&] { return occupancy(blocks, host_function, block_threads, dynamic_shared); });
}

SIMULATED_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* host_function,
                                                                                 int block_threads,
                                                                                 std::size_t dynamic_shared, unsigned) {
  return api("cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", Needs::device,
             [&] { return occupancy(blocks, host_function, block_threads, dynamic_shared); });
}
