// The race checker: the runtime of code compiled with -fsanitize=thread, in the place of libtsan.
// It watches while a kernel runs. Two accesses of a byte conflict when one of them writes, not both are atomic, and
// nothing of CUDA's orders them: neither __syncthreads in between (same block) nor __syncwarp of the full warp (same
// warp). Shuffles and votes order no memory, says CUDA, and blocks are never ordered. This follows from which threads
// touch what between which barriers, so one run under any schedule shows every race of that input.
// Not seen: what uninstrumented code touches (memcpy is), and order made by partial masks, which counts as none.
#include <array>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include "shadow.hpp"
#include "state.hpp"

namespace simt::detail {
namespace {

constexpr std::size_t kMostReports = 4;

class RaceChecker final : public Observer {
 public:
  RaceChecker() { observer = this; }

  void begin_launch() override {
    conflicts_ = 0;
    reports_.clear();
    seen_.clear();
    first_block_ = now_.block + 1;
  }
  void begin_block() override {
    ++now_.block;
    now_.epoch = 0;
    warp_epochs_.fill(0);
  }
  void thread_runs(unsigned thread) override { now_.thread = static_cast<std::uint16_t>(thread); }
  void block_synchronized() override { ++now_.epoch; }
  void warp_synchronized(unsigned warp) override { ++warp_epochs_[warp]; }
  void end_launch() override;

  void access(const void* address, std::size_t size, Kind kind, const void* pc);

 private:
  void touch(Cell& cell, bool shared, Kind kind, std::uintptr_t byte);
  void report(const Access& before, Kind kind, Kind before_kind, std::uintptr_t byte);

  struct Report {
    std::string text;
    std::uint32_t pc, before_pc;
    std::uint64_t count;
  };

  const Fibers& stacks_ = fibers();
  Shadow shadow_;
  Access now_;
  std::array<std::uint32_t, kMostThreads / kLanes> warp_epochs_{};
  std::uint32_t first_block_ = 0;
  std::uint64_t conflicts_ = 0;
  std::vector<Report> reports_;
  std::unordered_set<std::uint64_t> seen_;  // pairs of places reported
};

RaceChecker checker;

void RaceChecker::access(const void* address, std::size_t size, Kind kind, const void* pc) {
  const auto* from = static_cast<const char*>(address);
  if (stacks_.owns(from) || is_index(from)) return;
  const bool shared = is_shared(from);
  now_.pc = static_cast<std::uint32_t>(static_cast<const char*>(pc) - program_start());
  now_.warp_epoch = warp_epochs_[now_.thread / kLanes];
  shadow_.for_cells(reinterpret_cast<std::uintptr_t>(from), size,
                    [&](Cell& cell, std::uintptr_t byte) { touch(cell, shared, kind, byte); });
}

void RaceChecker::touch(Cell& cell, bool shared, Kind kind, std::uintptr_t byte) {
  const std::uint32_t first = shared ? now_.block : first_block_;  // what is older is another life of the memory
  const auto clashes = [&](const Access& before) { return before.block >= first && unordered(before, now_); };
  if (clashes(cell.write)) report(cell.write, kind, Kind::write, byte);
  if (kind != Kind::read) {
    for (const Access& read : cell.reads) {
      if (clashes(read)) report(read, kind, Kind::read, byte);
    }
  }
  if (kind != Kind::atomic) {
    for (const Access& atomic : cell.atomics) {
      if (clashes(atomic)) report(atomic, kind, Kind::atomic, byte);
    }
  }
  switch (kind) {
    case Kind::read:
      remember(cell.reads, now_, first);
      break;
    case Kind::atomic:
      remember(cell.atomics, now_, first);
      break;
    case Kind::write:  // comes after everything before it, or that has been reported
      cell = Cell{};
      cell.write = now_;
      break;
  }
}

void RaceChecker::report(const Access& before, Kind kind, Kind before_kind, std::uintptr_t byte) {
  ++conflicts_;
  if (!seen_.insert(std::uint64_t{before.pc} << 32 | now_.pc).second || reports_.size() == kMostReports) return;
  const auto name = [](Kind k) {
    return k == Kind::read ? "reads" : k == Kind::write ? "writes" : "updates atomically";
  };
  std::string text = describe(reinterpret_cast<const char*>(byte)) + ":\n    thread " + thread_text(before.thread) +
                     (before.block == now_.block ? " of this block " : " of another block ") + name(before_kind) + "\n";
  reports_.push_back({text, now_.pc, before.pc, 0});
  reports_.back().text +=
      "@\n    thread " + thread_text(now_.thread) + " of block " + detail::text(blockIdx) + " " + name(kind) + "\n@";
}

void RaceChecker::end_launch() {
  if (conflicts_ == 0) return;
  std::string what = "kernel " + std::string(current.name) + ": " + std::to_string(conflicts_) +
                     " unordered accesses, between which neither __syncthreads nor __syncwarp lies";
  for (const Report& report : reports_) {
    std::string text = report.text;
    text.replace(text.find("@\n"), 2, source_lines(report.before_pc));
    text.replace(text.rfind('@'), 1, source_lines(report.pc));
    what += "\n  " + text;
  }
  throw Error(what);
}

// Of the hooks below: `watching` is off within, as what the checker calls may be instrumented copies of templates.
inline void see(const void* address, std::size_t size, Kind kind, const void* pc) {
  if (!current.watching || size == 0) return;
  current.watching = false;
  checker.access(address, size, kind, pc);
  current.watching = true;
}

}  // namespace
}  // namespace simt::detail

using simt::detail::Kind;
using simt::detail::see;

#define SIMT_HERE __builtin_return_address(0)
#define SIMT_ACCESSES(size)                                                            \
  void __tsan_read##size(void* p) { see(p, size, Kind::read, SIMT_HERE); }             \
  void __tsan_write##size(void* p) { see(p, size, Kind::write, SIMT_HERE); }           \
  void __tsan_unaligned_read##size(void* p) { see(p, size, Kind::read, SIMT_HERE); }   \
  void __tsan_unaligned_write##size(void* p) { see(p, size, Kind::write, SIMT_HERE); } \
  void __tsan_volatile_read##size(void* p) { see(p, size, Kind::read, SIMT_HERE); }    \
  void __tsan_volatile_write##size(void* p) { see(p, size, Kind::write, SIMT_HERE); }

// The operations themselves, which the instrumented code leaves to its runtime.
#define SIMT_FETCH(bits, type, name)                                  \
  type __tsan_atomic##bits##_fetch_##name(type* p, type value, int) { \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                    \
    return __atomic_fetch_##name(p, value, __ATOMIC_SEQ_CST);         \
  }
#define SIMT_ATOMICS(bits, type)                                                                  \
  type __tsan_atomic##bits##_load(const type* p, int) {                                           \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                                                \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                               \
  void __tsan_atomic##bits##_store(type* p, type value, int) {                                    \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                                                \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                               \
  type __tsan_atomic##bits##_exchange(type* p, type value, int) {                                 \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                                                \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                       \
  }                                                                                               \
  bool __tsan_atomic##bits##_compare_exchange_strong(type* p, type* old, type value, int, int) {  \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                                                \
    return __atomic_compare_exchange_n(p, old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                               \
  bool __tsan_atomic##bits##_compare_exchange_weak(type* p, type* old, type value, int, int) {    \
    see(p, sizeof(type), Kind::atomic, SIMT_HERE);                                                \
    return __atomic_compare_exchange_n(p, old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                               \
  SIMT_FETCH(bits, type, add)                                                                     \
  SIMT_FETCH(bits, type, sub)                                                                     \
  SIMT_FETCH(bits, type, and)                                                                     \
  SIMT_FETCH(bits, type, or)                                                                      \
  SIMT_FETCH(bits, type, xor)

extern "C" {

SIMT_ACCESSES(1)
SIMT_ACCESSES(2)
SIMT_ACCESSES(4)
SIMT_ACCESSES(8)
SIMT_ACCESSES(16)
SIMT_ATOMICS(8, unsigned char)
SIMT_ATOMICS(16, unsigned short)
SIMT_ATOMICS(32, unsigned)
SIMT_ATOMICS(64, unsigned long)

void __tsan_read_range(void* p, std::size_t size) { see(p, size, Kind::read, SIMT_HERE); }
void __tsan_write_range(void* p, std::size_t size) { see(p, size, Kind::write, SIMT_HERE); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

// The linker's --wrap leads calls from our objects here.
void* __real_memcpy(void* to, const void* from, std::size_t size);
void* __real_memmove(void* to, const void* from, std::size_t size);
void* __real_memset(void* to, int value, std::size_t size);
void* __wrap_memcpy(void* to, const void* from, std::size_t size) {
  see(from, size, Kind::read, SIMT_HERE);
  see(to, size, Kind::write, SIMT_HERE);
  return __real_memcpy(to, from, size);
}
void* __wrap_memmove(void* to, const void* from, std::size_t size) {
  see(from, size, Kind::read, SIMT_HERE);
  see(to, size, Kind::write, SIMT_HERE);
  return __real_memmove(to, from, size);
}
void* __wrap_memset(void* to, int value, std::size_t size) {
  see(to, size, Kind::write, SIMT_HERE);
  return __real_memset(to, value, size);
}

}  // extern "C"
