// See context.h. Also defines launch_kernel of stream.h.
#include "cuda/runtime/context.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cuda/runtime/check.h"
#include "cuda/runtime/probe.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

constexpr std::size_t kBlasWorkspace = std::size_t{32} << 20;

// DESCENT_SYNC_LAUNCHES=1: wait after every launch, so that an error is reported for the kernel that caused it.
bool sync_launches() {
  static const bool value = [] {
    const char* text = std::getenv("DESCENT_SYNC_LAUNCHES");
    return text != nullptr && std::strcmp(text, "1") == 0;
  }();
  return value;
}

void check_launch(cudaError_t status, const char* name, const char* step) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw DeviceError(fmt::format("cuda: {} of kernel {} failed: {} ({})", step, name, cudaGetErrorName(status),
                                cudaGetErrorString(status)));
}

void check_architecture(int device) {
  const cudaError_t status = probe();
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  if (status != cudaErrorNoKernelImageForDevice && status != cudaErrorInvalidDeviceFunction) check(status, "probe");
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  throw DeviceError(
      fmt::format("cuda:{}: its compute capability is {}.{}, for which this build has no code; build with "
                  "-DCMAKE_CUDA_ARCHITECTURES=native",
                  device, major, minor));
}

}  // namespace

void launch_kernel(Stream& stream, const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared,
                   void** args) {
  check_launch(cudaLaunchKernel(kernel, grid, block, args, shared, stream.handle), name, "launch");
  if (!sync_launches()) return;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream.handle, &capture), "cudaStreamIsCapturing");
  if (capture == cudaStreamCaptureStatusNone) check_launch(cudaStreamSynchronize(stream.handle), name, "run");
}

Context::Context(int device) : device_(device), allocator_(device) {
  check(cudaSetDevice(device), "cudaSetDevice");
  check_architecture(device);
  check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
}

Stream& Context::stream() {
  int current = -1;
  check(cudaGetDevice(&current), "cudaGetDevice");
  if (current != device_) check(cudaSetDevice(device_), "cudaSetDevice");
  return *this;
}

// Stores a handle only once it is fully set up: after an error, such as out of memory, the next call starts over.
cublasHandle_t Context::blas() {
  const std::lock_guard lock(mutex_);
  if (blas_ != nullptr) return blas_;
  stream();
  if (blas_workspace_ == nullptr) blas_workspace_ = allocator_.allocate_for_ever(kBlasWorkspace);
  cublasHandle_t blas = nullptr;
  check(cublasCreate(&blas), "cublasCreate");
  std::unique_ptr<cublasContext, decltype(&cublasDestroy)> owner(blas, &cublasDestroy);
  check(cublasSetStream(blas, handle), "cublasSetStream");
  check(cublasSetMathMode(blas, CUBLAS_PEDANTIC_MATH), "cublasSetMathMode");
  check(cublasSetWorkspace(blas, blas_workspace_, kBlasWorkspace), "cublasSetWorkspace");
  return blas_ = owner.release();
}

cublasLtHandle_t Context::blas_lt() {
  const std::lock_guard lock(mutex_);
  if (blas_lt_ == nullptr) {
    stream();
    check(cublasLtCreate(&blas_lt_), "cublasLtCreate");
  }
  return blas_lt_;
}

void* Context::lt_workspace() {
  const std::lock_guard lock(mutex_);
  if (lt_workspace_ == nullptr) lt_workspace_ = allocator_.allocate_for_ever(kLtWorkspace);
  return lt_workspace_;
}

void Context::keep_for_capture(std::shared_ptr<const void> plan) {
  if (!capturing) return;
  const std::lock_guard lock(mutex_);
  if (std::find(kept_.begin(), kept_.end(), plan) == kept_.end()) kept_.push_back(std::move(plan));
}

std::vector<std::shared_ptr<const void>> Context::take_kept() {
  const std::lock_guard lock(mutex_);
  return std::exchange(kept_, {});
}

}  // namespace descent::gpu
