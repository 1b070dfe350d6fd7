// Describes the CUDA devices of this machine, as the driver reports them, and what this build supports. Creates no
// context on the devices.
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/probe.h"

#if DESCENT_HAS_CUDNN
#include <cudnn.h>
#endif

namespace descent::gpu {
namespace {

std::string runtime_version(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

CudaLibrary cudart() {
  int running = 0;
  check(cudaRuntimeGetVersion(&running), "cudaRuntimeGetVersion");
  return {"cudart", runtime_version(CUDART_VERSION), runtime_version(running)};
}

std::string library_version(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

}  // namespace

CudaBuild describe_build() {
  CudaBuild build;
  for (const int architecture : built_architectures()) {
    build.architectures.push_back(fmt::format("{}.{}", architecture / 100, architecture % 100 / 10));
  }
  build.libraries = {cudart(), {"cuBLAS", library_version(CUBLAS_VERSION), library_version(cublasLtGetVersion())}};
#if DESCENT_HAS_CUDNN
  build.libraries.push_back({"cuDNN", library_version(CUDNN_VERSION), library_version(cudnnGetVersion())});
#endif
  return build;
}

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
