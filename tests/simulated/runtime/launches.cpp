// Kernel launches. Source: CUDA Runtime API, cudaLaunchKernel; CUDA C++ Programming Guide, "Compute Capabilities"
// (launch limits), "Launch bounds" and "Multi-Device System".
#include <cstring>
#include <utility>
#include <vector>

#include "ptx/launch.h"
#include "ptx/launch_limits.h"
#include "runtime/api.h"
#include "runtime/kernel_name.h"
#include "runtime/modules.h"
#include "runtime/queue.h"

namespace simulated {
namespace {

struct Configuration {
  dim3 grid, block;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
};

// Passes the configuration from <<<...>>> to nvcc's stub. A stack, because an argument may itself be a launch.
thread_local std::vector<Configuration> configurations;

bool is_valid(const dim3& grid, const dim3& block, std::uint32_t most_threads) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const bool blocks_fit = grid.x <= ptx::kMostGridX && grid.y <= ptx::kMostGridYZ && grid.z <= ptx::kMostGridYZ;
  const bool threads_fit = block.x <= ptx::kMostBlockXY && block.y <= ptx::kMostBlockXY &&
                           block.z <= ptx::kMostBlockZ && threads <= ptx::kMostThreads && threads <= most_threads;
  return blocks_fit && threads_fit && grid.x != 0 && grid.y != 0 && grid.z != 0 && threads != 0;
}

cudaError_t launch(const void* host_function, const Configuration& how, void** arguments) {
  Function* function = nullptr;
  CUstream_st* stream = nullptr;
  if (const cudaError_t status = find_stream(how.stream, stream); status != cudaSuccess) return status;
  // "A kernel launch will fail if it is issued to a stream that is not associated to the current device."
  if (stream->device != current_device()) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t status = find_kernel(host_function, function); status != cudaSuccess) return status;
  const ptx::Kernel& kernel = *function->kernel;
  if (!is_valid(how.grid, how.block, kernel.max_threads)) return cudaErrorInvalidConfiguration;
  // Above 48 KiB, static and dynamic together, a kernel must first opt in to its dynamic shared memory.
  const std::uint64_t shared = kernel.shared_bytes + std::uint64_t{how.shared};
  if (shared > ptx::kMostStaticShared && how.shared > function->dynamic_limit) return cudaErrorInvalidValue;

  std::vector<char> parameters(kernel.parameter_bytes);
  for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
    const ptx::Parameter& parameter = kernel.parameters[i];
    std::memcpy(parameters.data() + parameter.offset, arguments[i], parameter.bytes);
  }
  auto node = std::make_shared<CUgraphNode_st>();
  node->task.name = kernel_name(kernel.name);
  node->task.run = [&kernel, module = function->module, grid = how.grid, block = how.block,
                    dynamic = static_cast<std::uint32_t>(how.shared), parameters = std::move(parameters)](Work& work) {
    ptx::Launch what;
    what.grid = {grid.x, grid.y, grid.z};
    what.block = {block.x, block.y, block.z};
    what.dynamic_shared = dynamic;
    what.parameters = parameters;
    work.counters = ptx::run(kernel, what);
    work.bytes = work.counters.loads.bytes + work.counters.stores.bytes + work.counters.atomics.bytes;
    work.flops = work.counters.flops_f32 + work.counters.flops_f64;
    work.flops_f64 = work.counters.flops_f64;
  };
  return submit(*stream, {std::move(node)});
}

}  // namespace
}  // namespace simulated

using namespace simulated;

SIMULATED_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

SIMULATED_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const Configuration how = configurations.back();
  configurations.pop_back();
  *grid = how.grid;
  *block = how.block;
  *shared = how.shared;
  *static_cast<cudaStream_t*>(stream) = how.stream;
  return cudaSuccess;
}

// A kernel's handle is the address of its host function.
SIMULATED_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host_function));
  return cudaSuccess;
}

SIMULATED_API cudaError_t cudaLaunchKernel(const void* host_function, dim3 grid, dim3 block, void** arguments,
                                           std::size_t shared, cudaStream_t stream) {
  return api("cudaLaunchKernel", Needs::device, [&] {
    return launch(host_function, {grid, block, shared, stream}, arguments);
  });
}

SIMULATED_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                                             std::size_t shared, cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}

// Programmatic stream serialization lets a kernel begin before its predecessor has ended, if both request it. Running
// them in sequence is allowed too.
SIMULATED_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* host_function,
                                              void** arguments) {
  return api("cudaLaunchKernelExC", Needs::device, [&] {
    if (config == nullptr) return cudaErrorInvalidValue;
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const cudaLaunchAttributeID id = config->attrs[i].id;
      if (id == cudaLaunchAttributeIgnore || id == cudaLaunchAttributeProgrammaticStreamSerialization) continue;
      explain("cudaLaunchKernelExC: attribute " + std::to_string(static_cast<int>(id)) + " is not simulated");
      return cudaErrorNotSupported;
    }
    return launch(host_function, {config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream},
                  arguments);
  });
}
