// What the driver says about the CUDA devices of this machine. Asking makes no context on them.
#include <cuda_runtime.h>

#include <utility>
#include <vector>

#include "backend.h"
#include "cuda/check.h"

namespace descent::gpu {

std::vector<CudaDeviceInfo> describe_devices() {
  if (!unavailable_reason().empty()) return {};
  int count = 0, driver = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  std::vector<CudaDeviceInfo> found;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    CudaDeviceInfo info;
    info.name = properties.name;
    info.memory = properties.totalGlobalMem;
    info.major = properties.major;
    info.minor = properties.minor;
    info.multiprocessors = properties.multiProcessorCount;
    info.driver = driver;
    found.push_back(std::move(info));
  }
  return found;
}

}  // namespace descent::gpu
