// The backends of this build. CMake sets DESCENT_HAS_CUDA if src/cuda is part of it.
#include "backend/backend.h"

#include <fmt/format.h>

#include "descent/error.h"

namespace descent {

Backend& backend(Device device) {
  if (device.type != DeviceType::cpu) {
#if DESCENT_HAS_CUDA
    return gpu::backend(device.index);
#else
    throw DeviceError(fmt::format("{}: {}", to_string(device), cuda_unavailable_reason()));
#endif
  }
  if (device.index != 0) throw DeviceError(fmt::format("cpu: index {}, there is only cpu 0", device.index));
  return cpu::backend();
}

std::vector<CudaDeviceInfo> cuda_devices() {
#if DESCENT_HAS_CUDA
  return gpu::describe_devices();
#else
  return {};
#endif
}

CudaBuild cuda_build() {
#if DESCENT_HAS_CUDA
  return gpu::describe_build();
#else
  return {};
#endif
}

std::string cudnn_unavailable_reason(Device device) {
  backend(device);  // throws if the device is not available
#if DESCENT_HAS_CUDA
  if (device.type == DeviceType::cuda) return gpu::cudnn_unavailable_reason(device.index);
#endif
  return "cuDNN is for CUDA devices";
}

std::string cuda_unavailable_reason() {
#if DESCENT_HAS_CUDA
  return gpu::unavailable_reason();
#else
  return "this build has no CUDA backend; install the CUDA Toolkit and build with -DDESCENT_CUDA=ON, or use the device "
         "cpu";
#endif
}

}  // namespace descent
