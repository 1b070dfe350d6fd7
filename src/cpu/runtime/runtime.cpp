// Runtime and allocator of the CPU backend: 64-byte aligned blocks in size classes at most 1/8 apart. Freed blocks
// are cached for the next allocation of their class, in lists linked through the blocks themselves, so that
// freeing never allocates.
#include "cpu/runtime/runtime.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"
#include "descent/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#endif

namespace descent::cpu {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmall = 4096;  // classes are 64 bytes apart up to here
constexpr std::size_t kPage = 4096;
constexpr std::size_t kLarge = std::size_t{1} << 15;   // from here on blocks begin at varying offsets in their pages
constexpr std::size_t kMapped = std::size_t{1} << 20;  // from here on blocks come from mmap and are released by munmap
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLargest = std::size_t{1} << 60;
constexpr std::size_t kCopyPiece = std::size_t{1} << 20;
constexpr int kClasses = 64 + 8 * 49;

std::atomic<std::int64_t> allocations_until_failure{0};

struct SizeClass {
  int index;
  std::size_t bytes;
};

SizeClass size_class(std::size_t bytes) {
  if (bytes <= kSmall) {
    const std::size_t lines = std::max<std::size_t>(1, (bytes + kAlignment - 1) / kAlignment);
    return {static_cast<int>(lines) - 1, lines * kAlignment};
  }
  const int octave = static_cast<int>(std::bit_width(bytes - 1)) - 1;  // 12 or more
  const std::size_t eighths = (bytes - 1) >> (octave - 3);  // 8 to 15: that many are too few, one more is enough
  return {64 + (octave - 12) * 8 + static_cast<int>(eighths) - 8, (eighths + 1) << (octave - 3)};
}

// Huge pages avoid most of the page faults and TLB misses of large tensors; they need blocks that are aligned to one.
// Sizes are whole pages (64 KiB on some ARM systems): munmap rejects an address inside a page, and the tail that is
// cut off after the block would stay mapped forever.
void* map_block(std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  bytes = (bytes + page - 1) / page * page;
  const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (alignment == 0) return mapped;
  char* const begin = static_cast<char*>(mapped);
  const std::size_t head = (alignment - reinterpret_cast<std::uintptr_t>(begin) % alignment) % alignment;
  if (head != 0) munmap(begin, head);
  if (alignment != head) munmap(begin + head + bytes, alignment - head);
  madvise(begin + head, bytes, MADV_HUGEPAGE);
  return begin + head;
}

// Large blocks begin at varying offsets in their pages. At equal offsets, loops that stream through several of them in
// step (an optimizer's four) evict each other's lines from the L1 cache: Adam took up to three times as long on Zen 4.
std::size_t next_offset() {
  static std::atomic<std::size_t> count{0};
  return count.fetch_add(1, std::memory_order_relaxed) * 17 * kAlignment % kPage;
}

void* allocate_block(std::size_t bytes) {
  if (bytes < kLarge) return std::aligned_alloc(kAlignment, bytes);
  void* const pages = bytes >= kMapped ? map_block(bytes + kPage) : std::aligned_alloc(kPage, bytes + kPage);
  return pages != nullptr ? static_cast<char*>(pages) + next_offset() : nullptr;
}

void free_block(void* block, std::size_t bytes) {
  if (bytes < kLarge) return std::free(block);
  char* const pages = static_cast<char*>(block) - reinterpret_cast<std::uintptr_t>(block) % kPage;
  if (bytes < kMapped) return std::free(pages);
  munmap(pages, bytes + kPage);
}

std::uint64_t memory_limit() {
  const char* text = std::getenv("DESCENT_CPU_MEMORY_LIMIT");
  if (text == nullptr || *text == '\0') return std::numeric_limits<std::uint64_t>::max();
  char* end = nullptr;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (*end != '\0' || *text == '-') {
    throw InvalidArgument(
        fmt::format("DESCENT_CPU_MEMORY_LIMIT: found \"{}\", expected a number of bytes", escape(text)));
  }
  return value;
}

class CapturedStep final : public CapturedWork {
 public:
  explicit CapturedStep(std::function<void()> step) : step_(std::move(step)) {}
  void replay() override { step_(); }

 private:
  std::function<void()> step_;
};

class CpuRuntime final : public Runtime {
 public:
  void* allocate(std::size_t bytes) override {
    if (allocations_until_failure.load(std::memory_order_relaxed) > 0 && allocations_until_failure.fetch_sub(1) == 1) {
      throw OutOfMemory("cpu", bytes, 0);
    }
    const std::lock_guard lock(mutex_);
    if (bytes > kLargest) throw OutOfMemory("cpu", bytes, bytes_free());
    const SizeClass wanted = size_class(bytes);
    void* block = take(wanted);
    if (block == nullptr) throw OutOfMemory("cpu", bytes, bytes_free());
    in_use_ += wanted.bytes;
    peak_ = std::max(peak_, in_use_);
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + bytes, wanted.bytes - bytes);
    return block;
  }

  void free(void* data, std::size_t bytes) noexcept override {
    if (data == nullptr) return;
    const SizeClass freed = size_class(bytes);
    const std::lock_guard lock(mutex_);
    Link*& head = free_[static_cast<std::size_t>(freed.index)];
    ASAN_UNPOISON_MEMORY_REGION(data, sizeof(Link));
    head = new (data) Link{head, freed.bytes};
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(data) + sizeof(Link), freed.bytes - sizeof(Link));
    in_use_ -= freed.bytes;
    cached_ += freed.bytes;
  }

  void copy_from_host(void* device, const void* host, std::size_t bytes) override { copy(device, host, bytes); }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override { copy(host, device, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    parallel_pieces(static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(kCopyPiece),
                    [&](std::int64_t begin, std::int64_t end) {
                      std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                                  static_cast<std::size_t>(end - begin));
                    });
  }
  void synchronize() override {}

  MemoryInfo memory() const override {
    const std::lock_guard lock(mutex_);
    return {in_use_, peak_, cached_};
  }

  void empty_cache() override {
    const std::lock_guard lock(mutex_);
    release_cache();
  }

  std::unique_ptr<CapturedWork> capture(const std::function<void()>& step) override {
    return std::make_unique<CapturedStep>(step);
  }

 private:
  struct Link {  // at the beginning of each free block
    Link* next;
    std::size_t bytes;
  };

  void* take(const SizeClass& wanted) {
    if (Link*& head = free_[static_cast<std::size_t>(wanted.index)]; head != nullptr) {
      Link* const block = head;
      head = block->next;
      cached_ -= wanted.bytes;
      return block;
    }
    if (in_use_ + cached_ + wanted.bytes > limit_) release_cache();
    if (in_use_ + wanted.bytes > limit_) return nullptr;
    if (void* block = allocate_block(wanted.bytes)) return block;
    release_cache();
    return allocate_block(wanted.bytes);
  }

  void release_cache() {
    for (Link*& head : free_) {
      while (head != nullptr) {
        Link* const block = head;
        const std::size_t bytes = block->bytes;
        head = block->next;
        ASAN_UNPOISON_MEMORY_REGION(block, bytes);
        free_block(block, bytes);
        cached_ -= bytes;
      }
    }
  }

  // An upper bound on what another allocation could get, for error messages only.
  std::uint64_t bytes_free() const {
    const std::uint64_t pages = static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_AVPHYS_PAGES)));
    const std::uint64_t of_system = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    return std::min(of_system, limit_ - std::min(limit_, in_use_));
  }

  mutable std::mutex mutex_;
  const std::uint64_t limit_ = memory_limit();
  std::uint64_t in_use_ = 0, peak_ = 0, cached_ = 0;
  std::array<Link*, kClasses> free_{};
};

}  // namespace

void fail_allocation_after(std::int64_t n) { allocations_until_failure.store(n); }

// Never destroyed, like every op group: static objects of the program may still free tensors after main.
Runtime* runtime_ops() {
  static CpuRuntime* const group = new CpuRuntime;
  return group;
}

}  // namespace descent::cpu
