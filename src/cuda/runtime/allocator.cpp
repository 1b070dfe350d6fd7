// See allocator.h.
#include "cuda/runtime/allocator.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>
#include <new>

#include "cuda/runtime/check.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

constexpr std::size_t kSmallest = 512;
constexpr std::size_t kLargest = std::size_t{1} << 60;

// Rounds up to a size class. Adjacent classes differ by at most 1/8 or 512 bytes, whichever is more.
std::size_t class_bytes(std::size_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  const int octave = static_cast<int>(std::bit_width(bytes - 1)) - 1;
  const std::size_t step = std::max(kSmallest, std::size_t{1} << (octave - 3));
  return (bytes + step - 1) / step * step;
}

std::uint64_t memory_limit() {
  const char* text = std::getenv("DESCENT_CUDA_MEMORY_LIMIT");
  if (text == nullptr || *text == '\0') return std::numeric_limits<std::uint64_t>::max();
  char* end = nullptr;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (*end != '\0' || *text < '0' || *text > '9') {  // strtoull takes a sign and spaces
    throw InvalidArgument(
        fmt::format("DESCENT_CUDA_MEMORY_LIMIT: found \"{}\", expected a number of bytes", escape(text)));
  }
  return value;
}

}  // namespace

struct Allocator::Pool {
  std::map<std::size_t, std::vector<void*>> free;  // by size class
};

Allocator::Allocator(int device) : device_(device), limit_(memory_limit()), shared_(std::make_shared<Pool>()) {}

Allocator::~Allocator() = default;  // contexts are never destroyed; the driver reclaims the memory

void* Allocator::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > kLargest) out_of_memory(bytes);
  const std::size_t wanted = class_bytes(bytes);
  void* block = take(wanted);
  if (block == nullptr) out_of_memory(bytes);
  if (capturing_) owner_[block] = capturing_;
  in_use_ += wanted;
  peak_ = std::max(peak_, in_use_);
  return block;
}

// A free block of the current pool, or a new one; null if there is no memory.
void* Allocator::take(std::size_t wanted) {
  Pool& pool = capturing_ ? *capturing_ : *shared_;
  if (const auto it = pool.free.find(wanted); it != pool.free.end() && !it->second.empty()) {
    void* const block = it->second.back();
    it->second.pop_back();
    cached_ -= wanted;
    return block;
  }
  // Nothing may be returned to the driver during a capture.
  if (!capturing_ && in_use_ + cached_ + wanted > limit_) release_cached();
  if (in_use_ + cached_ + wanted > limit_) return nullptr;
  void* block = new_block(wanted);
  if (block != nullptr || capturing_) return block;
  release_cached();
  return new_block(wanted);
}

void* Allocator::new_block(std::size_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaSuccess) return block;
  if (status != cudaErrorMemoryAllocation) check(status, "cudaMalloc");
  static_cast<void>(cudaGetLastError());
  return nullptr;
}

void* Allocator::allocate_for_ever(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  void* block = new_block(bytes);
  if (block == nullptr && !capturing_) {
    release_cached();
    block = new_block(bytes);
  }
  if (block == nullptr) out_of_memory(bytes);
  return block;
}

void Allocator::free(void* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  const std::lock_guard lock(mutex_);
  const std::size_t freed = class_bytes(bytes);
  std::shared_ptr<Pool> pool = capturing_ ? capturing_ : shared_;
  if (const auto it = owner_.find(data); it != owner_.end()) {
    pool = it->second;
    owner_.erase(it);
  }
  in_use_ -= freed;
  try {
    pool->free[freed].push_back(data);
    cached_ += freed;
  } catch (const std::bad_alloc&) {
    // If the list cannot grow, the block is lost until the process ends.
  }
}

void Allocator::release_cached() noexcept {
  for (auto& [bytes, blocks] : shared_->free) {
    for (void* const block : blocks) {
      static_cast<void>(cudaFree(block));  // waits for the device
      cached_ -= bytes;
    }
    blocks.clear();
  }
}

MemoryInfo Allocator::memory() const {
  const std::lock_guard lock(mutex_);
  return {in_use_, peak_, cached_};
}

void Allocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  if (!capturing_) release_cached();
}

std::shared_ptr<Allocator::Pool> Allocator::begin_pool() {
  const std::lock_guard lock(mutex_);
  capturing_ = std::make_shared<Pool>();
  return capturing_;
}

void Allocator::end_pool() noexcept {
  const std::lock_guard lock(mutex_);
  capturing_.reset();
}

// Blocks that are still in use go to the shared pool when they are freed.
void Allocator::release_pool(const std::shared_ptr<Pool>& pool) noexcept {
  const std::lock_guard lock(mutex_);
  for (auto it = owner_.begin(); it != owner_.end();) it = it->second == pool ? owner_.erase(it) : std::next(it);
  for (auto& [bytes, blocks] : pool->free) {
    for (void* const block : blocks) {
      try {
        shared_->free[bytes].push_back(block);
      } catch (const std::bad_alloc&) {
        cached_ -= bytes;
      }
    }
    blocks.clear();
  }
}

void Allocator::out_of_memory(std::size_t bytes) {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) static_cast<void>(cudaGetLastError());
  const std::uint64_t of_limit = limit_ - std::min(limit_, in_use_);
  throw OutOfMemory(fmt::format("cuda:{}", device_), bytes, std::min<std::uint64_t>(free + cached_, of_limit));
}

}  // namespace descent::gpu
