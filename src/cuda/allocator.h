// The caching allocator of one device: blocks in size classes, kept when freed for the next allocation of their class.
// The device has one stream, so a freed block may be handed out at once: whoever gets it is queued behind. Blocks that
// are allocated or freed while a graph is captured belong to that graph's pool: replays use their addresses, so nothing
// else may until the graph is gone.
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

  void* allocate(std::size_t bytes);  // 256-byte aligned; 0 bytes give a block too; throws OutOfMemory
  void free(void* data, std::size_t bytes) noexcept;
  // For a library's workspace: belongs to no pool and is not counted as in use. Throws OutOfMemory.
  void* allocate_for_ever(std::size_t bytes);
  MemoryInfo memory() const;
  void empty_cache();  // gives free blocks back to the driver

  // Between these, allocations come from a new pool. release_pool hands its blocks to everybody again.
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
  std::unordered_map<void*, std::shared_ptr<Pool>> owner_;  // of blocks in use that came from a graph's pool
  std::uint64_t in_use_ = 0, peak_ = 0, cached_ = 0;
};

}  // namespace descent::gpu
