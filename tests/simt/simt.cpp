// Launches: limits, indices, shared memory, and one block after another.
#include "simt.hpp"

#include <new>

#include "block.hpp"
#include "schedule.hpp"
#include "state.hpp"

#define SIMT_INDEX __attribute__((section("simt_index")))
SIMT_INDEX uint3 threadIdx, blockIdx;
SIMT_INDEX dim3 blockDim, gridDim;

namespace simt {
namespace detail {

Observer* observer = nullptr;
Launch current;

Fibers& fibers() {
  static Fibers all;
  return all;
}

std::string text(uint3 i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}
std::string text(dim3 size) { return text(uint3{size.x, size.y, size.z}); }

namespace {

Scheduler scheduler;
std::size_t shared_limit = kSharedLimit;

void check_limits(dim3 grid, dim3 size, std::size_t shared) {
  const auto refuse = [&](const std::string& what) {
    throw Error("kernel " + std::string(current.name) + ", grid " + text(grid) + ", block " + text(size) + ": " + what);
  };
  const std::uint64_t threads = std::uint64_t{size.x} * size.y * size.z;
  if (threads == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0) refuse("an empty grid or block");
  if (threads > kMostThreads) refuse("more than 1024 threads in a block");
  if (size.z > 64) refuse("a block may be 64 deep");
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) refuse("the grid exceeds 2147483647 x 65535 x 65535");
  if (shared > shared_limit) {
    refuse(std::to_string(shared) + " bytes of dynamic shared memory, more than " + std::to_string(shared_limit));
  }
}

// Not with memset, which AddressSanitizer would check: the space between the variables is poisoned.
__attribute__((no_sanitize("address", "undefined"))) void fill(char* from, char* to) {
  auto bytes = static_cast<std::size_t>(to - from);
#if defined(__x86_64__)
  asm volatile("rep stosb" : "+D"(from), "+c"(bytes) : "a"(0xFF) : "memory");
#else
  for (volatile char* p = from; bytes > 0; --bytes) *p++ = static_cast<char>(0xFF);
#endif
}

// A block's dynamic shared memory, in `current`.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes)
      : memory_(static_cast<char*>(::operator new (bytes, std::align_val_t{kAlignment}))) {
    fill(memory_, memory_ + bytes);
    current.shared = memory_;
    current.shared_bytes = bytes;
  }
  ~SharedMemory() {
    current.shared = nullptr;
    current.shared_bytes = 0;
    ::operator delete (memory_, std::align_val_t{kAlignment});
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

 private:
  static constexpr std::size_t kAlignment = 16;  // what dynamic_shared<T>() promises, and no more
  char* memory_;
};

}  // namespace
}  // namespace detail

void set_schedule(Schedule schedule, std::uint64_t seed) { detail::scheduler.set(schedule, seed); }
void set_shared_limit(std::size_t bytes) { detail::shared_limit = bytes; }
void* dynamic_shared() { return detail::current.shared; }

void launch(const char* name, dim3 grid, dim3 size, std::size_t shared, const std::function<void()>& body) {
  using namespace detail;
  if (current.active) throw Error("kernel " + std::string(name) + " launched by kernel " + current.name);
  current.name = name;
  check_limits(grid, size, shared);
  struct Active {
    Active() { current.active = true; }
    ~Active() { current.active = false; }
  };
  {
    const Active active;
    if (observer != nullptr) observer->begin_launch();
    gridDim = grid;
    blockDim = size;
    const auto order = scheduler.order_of(std::uint64_t{grid.x} * grid.y * grid.z);
    for (const std::uint64_t b : order) {
      blockIdx.x = static_cast<unsigned>(b % grid.x);
      blockIdx.y = static_cast<unsigned>(b / grid.x % grid.y);
      blockIdx.z = static_cast<unsigned>(b / (std::uint64_t{grid.x} * grid.y));
      const SharedMemory memory(shared);
      for (const StaticShared& variable : static_shared()) fill(variable.begin, variable.end);
      if (observer != nullptr) observer->begin_block();
      block.run(body, size.x * size.y * size.z, scheduler);
    }
  }
  if (observer != nullptr) observer->end_launch();
}

}  // namespace simt
