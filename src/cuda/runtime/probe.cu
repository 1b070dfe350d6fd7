// See probe.h. All device files are compiled for the same architectures, so it is enough to check one kernel.
#include "cuda/runtime/probe.h"

namespace descent::gpu {
namespace {

__global__ void probe_kernel() {}

}  // namespace

cudaError_t probe() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe_kernel));
}

std::vector<int> built_architectures() { return {__CUDA_ARCH_LIST__}; }

}  // namespace descent::gpu
