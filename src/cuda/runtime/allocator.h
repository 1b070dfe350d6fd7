// The caching allocator of one device. Freed blocks are cached by size class for the next allocation of their class.
// The device has one stream, so a freed block can be reused at once: the work of its next owner is queued after that of
// the previous one. Blocks that are allocated or freed while a graph is captured belong to that graph's pool: replays
// use their addresses, so nothing else may use them until the graph is destroyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "descent/device.h"

namespace descent::gpu {

class Allocator {
 public:
  struct Pool;  // free blocks by size class

  explicit Allocator(int device);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(std::size_t bytes);  // 256-byte aligned; never null, even for 0 bytes; throws OutOfMemory
  void free(void* data, std::size_t bytes) noexcept;
  // For library workspaces: never freed, in no pool and not counted in memory(). Throws OutOfMemory.
  void* allocate_for_ever(std::size_t bytes);
  MemoryInfo memory() const;
  void empty_cache();  // returns free blocks to the driver, except during a capture

  // Between begin_pool and end_pool, allocations come from a new pool. release_pool moves its blocks to
  // the shared pool.
  std::shared_ptr<Pool> begin_pool();
  void end_pool() noexcept;
  void release_pool(const std::shared_ptr<Pool>& pool) noexcept;

 private:
  void* take(std::size_t wanted);
  void* new_block(std::size_t bytes);
  void release_cached() noexcept;
  [[noreturn]] void out_of_memory(std::size_t bytes);

  int device_;
  std::uint64_t limit_;  // DESCENT_CUDA_MEMORY_LIMIT, in bytes
  mutable std::mutex mutex_;
  std::shared_ptr<Pool> shared_;
  std::shared_ptr<Pool> capturing_;
  std::unordered_map<void*, std::shared_ptr<Pool>> owner_;  // blocks in use that came from a graph's pool
  std::uint64_t in_use_ = 0, peak_ = 0, cached_ = 0;
};

}  // namespace descent::gpu
