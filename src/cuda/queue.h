// A queue of work on one device, and temporary memory for what is queued. Host code only; launch.cuh adds the kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace descent::gpu {

// The stream of one device and the memory that goes with it.
class Queue {
 public:
  Queue() = default;
  virtual ~Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  // Memory that may be freed as soon as the kernels that use it are queued: whoever gets it next is queued behind them.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void free(void* data, std::size_t bytes) noexcept = 0;

  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
};

// Temporary elements on the device, for the kernels of one primitive. Not initialized.
template <class T>
class Scratch {
 public:
  Scratch(Queue& queue, std::int64_t n)
      : queue_(queue), bytes_(static_cast<std::size_t>(n) * sizeof(T)), data_(queue.allocate(bytes_)) {}
  ~Scratch() { queue_.free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return static_cast<T*>(data_); }

 private:
  Queue& queue_;
  std::size_t bytes_;
  void* data_;
};

// Queues the kernel; throws DeviceError that names it. `shared`: bytes of dynamic shared memory for each block, at most
// the 48 KiB that a kernel has without asking for more (cudaFuncAttributeMaxDynamicSharedMemorySize). In context.cpp.
void launch_kernel(Queue& queue, const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared,
                   void** args);

}  // namespace descent::gpu
