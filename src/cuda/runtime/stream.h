// A CUDA stream and its temporary memory. Host code only; launch.cuh adds what kernels need.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace descent::gpu {

class Stream {
 public:
  Stream() = default;
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  // Memory may be freed as soon as the kernels that use it are queued: work of its next owner is queued after them.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void free(void* data, std::size_t bytes) noexcept = 0;

  cudaStream_t handle = nullptr;
  int multiprocessors = 1;
};

// Uninitialized temporary elements on the device, for the kernels of one primitive.
template <class T>
class Scratch {
 public:
  Scratch(Stream& stream, std::int64_t n)
      : stream_(stream), bytes_(static_cast<std::size_t>(n) * sizeof(T)), data_(stream.allocate(bytes_)) {}
  ~Scratch() { stream_.free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return static_cast<T*>(data_); }

 private:
  Stream& stream_;
  std::size_t bytes_;
  void* data_;
};

// Queues the kernel; a DeviceError names it. `shared`: bytes of dynamic shared memory per block, at most the 48 KiB
// that need no opt-in (cudaFuncAttributeMaxDynamicSharedMemorySize). Defined in context.cpp.
void launch_kernel(Stream& stream, const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared,
                   void** args);

}  // namespace descent::gpu
