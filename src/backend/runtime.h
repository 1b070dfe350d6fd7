// The op group runtime: a device's memory, copies and captured work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "descent/device.h"

namespace descent {

class CapturedWork {  // captured work that can be queued repeatedly
 public:
  virtual ~CapturedWork() = default;
  virtual void replay() = 0;
  virtual std::int64_t nodes() const { return 0; }  // of the device's graph: kernels, copies and fills; 0 without one
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual void* allocate(std::size_t bytes) = 0;  // 64-byte aligned or better; cached; throws OutOfMemory
  virtual void free(void* data, std::size_t bytes) noexcept = 0;
  virtual void copy_from_host(void* device, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;  // within the device
  virtual void synchronize() = 0;
  virtual MemoryInfo memory() const = 0;
  virtual void empty_cache() = 0;
  // Captures the work that `step` queues: replay() queues it again, on the same memory. CUDA builds a graph without
  // executing the work; the CPU calls `step` at each replay. Throws DeviceError if `step` can't be captured.
  virtual std::unique_ptr<CapturedWork> capture(const std::function<void()>& step) = 0;
};

}  // namespace descent
