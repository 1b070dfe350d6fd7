// One CUDA device as descent uses it: a non-blocking stream, library handles with workspaces of their own, and the
// caching allocator. Everything that a primitive queues goes to this one stream, in order. Contexts are made at the
// first use of their device and live as long as the process.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/allocator.h"
#include "cuda/queue.h"

namespace descent::gpu {

class Context final : public Queue {
 public:
  explicit Context(int device);  // throws DeviceError

  // The queue, with this device made the calling thread's current one. Every primitive begins with it.
  Queue& queue();
  int device() const { return device_; }
  // Library handles on the stream, made at the first use; cuBLAS has a fixed workspace, which keeps it deterministic.
  cublasHandle_t blas();
  cublasLtHandle_t blas_lt();
  void* lt_workspace();   // kLtWorkspace bytes, for one matrix product at a time
  std::mutex blas_mutex;  // held while a product is queued whose kernels share cuBLAS's workspace
  static constexpr std::size_t kLtWorkspace = std::size_t{32} << 20;

  Allocator& allocator() { return allocator_; }
  void* allocate(std::size_t bytes) override { return allocator_.allocate(bytes); }
  void free(void* data, std::size_t bytes) noexcept override { allocator_.free(data, bytes); }

  // True while the stream is captured: then nothing may block or leave the device.
  bool capturing = false;
  std::vector<std::function<void()>> after_capture;  // what had to wait for the end of it
  // While the stream is captured: a graph will run what a library prepared, so it must live as long as the graph.
  void keep_for_capture(std::shared_ptr<const void> plan);
  std::vector<std::shared_ptr<const void>> take_kept();

 private:
  int device_;
  Allocator allocator_;
  std::mutex mutex_;  // of what follows
  cublasHandle_t blas_ = nullptr;
  void* blas_workspace_ = nullptr;
  cublasLtHandle_t blas_lt_ = nullptr;
  void* lt_workspace_ = nullptr;
  std::vector<std::shared_ptr<const void>> kept_;
};

}  // namespace descent::gpu
