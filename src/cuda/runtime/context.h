// The state of one CUDA device: a non-blocking stream, library handles with their own workspaces, and the caching
// allocator. All primitives queue their work on this one stream, in order. Contexts are created at the first use of
// their device and are never destroyed.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/runtime/allocator.h"
#include "cuda/runtime/stream.h"

namespace descent::gpu {

class Context final : public Stream {
 public:
  explicit Context(int device);  // throws DeviceError

  // Makes this device the calling thread's current one and returns its stream. Every primitive calls it first.
  Stream& stream();
  int device() const { return device_; }
  // Library handles, created at first use. cuBLAS gets the stream and a fixed workspace, which keeps it deterministic.
  cublasHandle_t blas();
  cublasLtHandle_t blas_lt();
  void* lt_workspace();   // kLtWorkspace bytes, for one matrix product at a time
  std::mutex blas_mutex;  // held while a product that uses cuBLAS's workspace is queued
  static constexpr std::size_t kLtWorkspace = std::size_t{32} << 20;

  Allocator& allocator() { return allocator_; }
  void* allocate(std::size_t bytes) override { return allocator_.allocate(bytes); }
  void free(void* data, std::size_t bytes) noexcept override { allocator_.free(data, bytes); }

  // True during stream capture, when nothing may synchronize or copy from or to the host.
  bool capturing = false;
  std::vector<std::function<void()>> after_capture;  // work deferred to the end of the capture
  // During a capture, saves a library's plan for the graph, which runs it at every replay and so must keep it alive.
  void keep_for_capture(std::shared_ptr<const void> plan);
  std::vector<std::shared_ptr<const void>> take_kept();

 private:
  int device_;
  Allocator allocator_;
  std::mutex mutex_;  // protects the members below
  cublasHandle_t blas_ = nullptr;
  void* blas_workspace_ = nullptr;
  cublasLtHandle_t blas_lt_ = nullptr;
  void* lt_workspace_ = nullptr;
  std::vector<std::shared_ptr<const void>> kept_;
};

}  // namespace descent::gpu
