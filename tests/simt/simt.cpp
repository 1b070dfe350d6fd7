// Runs a grid: fibers for threads, and the operations at which they wait for one another.
#include "simt.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <numeric>

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

enum class Wait : std::uint8_t { nothing, block, warp, returned };

// What a thread asks of its warp or block, and gets.
struct Request {
  const char* call = "";
  Site site;
  Wait wait = Wait::nothing;
  bool predicate = false;
  bool orders = false;  // accesses to memory: shuffles and votes do not, CUDA says
  unsigned mask = 0;
  unsigned source = 0;  // the lane that a shuffle reads
  std::uint64_t value = 0;
};

struct Thread {
  Fiber* fiber = nullptr;
  Request request;
};

std::string call_text(const Request& request) {
  std::string file = request.site.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string::npos) file.erase(0, slash + 1);
  return std::string(request.call) + " (" + file + ":" + std::to_string(request.site.line()) + ")";
}

bool same_place(const Request& a, const Request& b) {
  const auto same_text = [](const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; };
  return a.site.line() == b.site.line() && a.site.column() == b.site.column() && same_text(a.call, b.call) &&
         same_text(a.site.file_name(), b.site.file_name());
}

std::string where() { return "kernel " + std::string(current.name) + ", block " + text(blockIdx) + ": "; }

uint3 thread_index(unsigned thread) {
  if (thread < blockDim.x) return uint3{thread, 0, 0};
  return uint3{thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// One block at a time.
class Block {
 public:
  void set_schedule(Schedule schedule, std::uint64_t seed) {
    schedule_ = schedule;
    random_ = seed;
  }
  std::vector<std::uint64_t> order_of(std::uint64_t blocks);
  void run(const std::function<void()>& body, unsigned threads);
  unsigned threads() const { return threads_; }

  // Called on the fiber of the running thread, whose request is then answered in place.
  Request& request() { return all_[running_].request; }
  void wait_for_block();
  void wait_for_warp();
  [[noreturn]] void fail(const std::string& what);  // all errors end the thread by an exception

 private:
  static void thread_main();
  std::uint64_t random();
  unsigned next_ready();
  void set_ready(unsigned thread) { ready_[thread / 64] |= std::uint64_t{1} << (thread % 64); }
  void complete_warp(unsigned first, unsigned mask);
  void complete_block();
  std::string stuck() const;
  unsigned lanes_of_warp(unsigned first) const {
    return threads_ - first >= kLanes ? ~0u : (1u << (threads_ - first)) - 1;
  }
  void clean_up();

  std::array<Thread, kMostThreads> all_;
  std::array<std::uint64_t, kMostThreads / 64> ready_{};
  unsigned threads_ = 0, running_ = 0, returned_ = 0, at_barrier_ = 0;
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr thrown_;
  Schedule schedule_ = Schedule::forward;
  std::uint64_t random_ = 0;
};

Block block;
std::size_t shared_limit = kSharedLimit;

std::uint64_t Block::random() {  // splitmix64
  std::uint64_t z = random_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::vector<std::uint64_t> Block::order_of(std::uint64_t blocks) {
  std::vector<std::uint64_t> order(blocks);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  if (schedule_ == Schedule::reverse) std::reverse(order.begin(), order.end());
  if (schedule_ == Schedule::random) {
    for (std::uint64_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  }
  return order;
}

// kMostThreads if none is.
unsigned Block::next_ready() {
  const unsigned words = (threads_ + 63) / 64;
  if (schedule_ == Schedule::forward) {
    for (unsigned w = 0; w < words; ++w) {
      if (ready_[w] != 0) return w * 64 + static_cast<unsigned>(std::countr_zero(ready_[w]));
    }
    return kMostThreads;
  }
  if (schedule_ == Schedule::reverse) {
    for (unsigned w = words; w-- > 0;) {
      if (ready_[w] != 0) return w * 64 + 63 - static_cast<unsigned>(std::countl_zero(ready_[w]));
    }
    return kMostThreads;
  }
  const auto start = static_cast<unsigned>(random() % threads_);  // and on from there, around the end
  const std::uint64_t from = ~std::uint64_t{0} << (start % 64);
  for (unsigned i = 0; i <= words; ++i) {
    const unsigned w = (start / 64 + i) % words;
    const std::uint64_t bits = i == 0 ? ready_[w] & from : ready_[w];
    if (bits != 0) return w * 64 + static_cast<unsigned>(std::countr_zero(bits));
  }
  return kMostThreads;
}

void Block::thread_main() {
  fibers().arrived();
  try {
    (*block.body_)();
  } catch (...) {
    block.thrown_ = std::current_exception();
  }
  current.watching = false;
  block.request().wait = Wait::returned;
  ++block.returned_;
  fibers().leave_for_good();
}

void Block::run(const std::function<void()>& body, unsigned threads) {
  threads_ = threads;
  returned_ = at_barrier_ = 0;
  body_ = &body;
  thrown_ = nullptr;
  ready_.fill(0);
  for (unsigned t = 0; t < threads; ++t) {
    all_[t].request.wait = Wait::nothing;
    set_ready(t);
  }
  while (returned_ < threads_) {
    const unsigned next = next_ready();
    if (next == kMostThreads) {
      clean_up();
      throw Error(stuck());
    }
    ready_[next / 64] &= ~(std::uint64_t{1} << (next % 64));
    running_ = next;
    threadIdx = thread_index(next);
    Thread& thread = all_[next];
    if (thread.fiber == nullptr) thread.fiber = fibers().start(&Block::thread_main);
    if (observer != nullptr) observer->thread_runs(next);
    current.watching = true;
    fibers().resume(thread.fiber);
    current.watching = false;
    if (thrown_ != nullptr) {
      clean_up();
      std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
    if (thread.request.wait == Wait::returned) {
      fibers().recycle(thread.fiber);
      thread.fiber = nullptr;
    }
  }
}

void Block::clean_up() {
  for (unsigned t = 0; t < threads_; ++t) {
    if (all_[t].fiber == nullptr) continue;
    fibers().abandon(all_[t].fiber);
    all_[t].fiber = nullptr;
  }
}

void Block::fail(const std::string& what) { throw Error(where() + "thread " + thread_text(running_) + ": " + what); }

std::string Block::stuck() const {
  struct Group {
    const Request* request;
    unsigned first, count;
  };
  std::vector<Group> groups;
  bool at_block = false;
  for (unsigned t = 0; t < threads_; ++t) {
    const Request& request = all_[t].request;
    if (request.wait == Wait::returned) continue;
    at_block = at_block || request.wait == Wait::block;
    bool found = false;
    for (Group& group : groups) {
      if (!same_place(*group.request, request)) continue;
      ++group.count;
      found = true;
      break;
    }
    if (!found) groups.push_back({&request, t, 1});
  }
  std::string what = where();
  what += groups.size() > 1 ? "threads wait at different barriers"
          : at_block        ? "threads returned before a barrier that others wait at"
                            : "lanes wait for others of their mask that returned";
  for (const Group& group : groups) {
    what += "; " + std::to_string(group.count) + " at " + call_text(*group.request) + ", the first of them thread " +
            thread_text(group.first);
  }
  if (returned_ == 0) return what;
  what += "; " + std::to_string(returned_) + " returned";
  for (unsigned t = 0; t < threads_; ++t) {
    if (all_[t].request.wait == Wait::returned) return what + ", the first of them thread " + thread_text(t);
  }
  return what;
}

void Block::wait_for_block() {
  request().wait = Wait::block;
  if (++at_barrier_ == threads_) complete_block();
  fibers().leave();
}

void Block::complete_block() {
  std::uint64_t count = 0;
  for (unsigned t = 0; t < threads_; ++t) {
    if (!same_place(all_[t].request, all_[0].request)) {
      throw Error(stuck());
    }
    count += all_[t].request.predicate ? 1 : 0;
  }
  at_barrier_ = 0;
  for (unsigned t = 0; t < threads_; ++t) {
    all_[t].request.value = count;
    all_[t].request.wait = Wait::nothing;
    set_ready(t);
  }
  if (observer != nullptr) observer->block_synchronized();
}

void Block::wait_for_warp() {
  const unsigned first = running_ / kLanes * kLanes, lane = running_ % kLanes;
  Request& mine = request();
  if ((mine.mask >> lane & 1) == 0) fail(call_text(mine) + ": the caller's lane is not in the mask");
  mine.wait = Wait::warp;
  const unsigned mask = mine.mask & lanes_of_warp(first);
  bool complete = true;
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    const Request& other = all_[first + l].request;
    if (other.wait == Wait::returned) {
      fail(call_text(mine) + ": thread " + thread_text(first + l) + ", which is in the mask, returned");
    }
    if (other.wait == Wait::warp && (!same_place(mine, other) || mine.mask != other.mask)) {
      fail(call_text(mine) + ": thread " + thread_text(first + l) + ", which is in the mask, is at " +
           call_text(other) + (same_place(mine, other) ? " with another mask" : ""));
    }
    complete = complete && other.wait == Wait::warp;
  }
  if (complete) complete_warp(first, mask);
  fibers().leave();
}

void Block::complete_warp(unsigned first, unsigned mask) {
  std::array<std::uint64_t, kLanes> values{};
  unsigned ballot = 0;
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    values[l] = all_[first + l].request.value;
    ballot |= all_[first + l].request.predicate ? 1u << l : 0;
  }
  if (observer != nullptr && mask == lanes_of_warp(first) && request().orders) {
    observer->warp_synchronized(first / kLanes);
  }
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    Request& request = all_[first + l].request;
    if ((mask >> request.source & 1) == 0) {
      throw Error(where() + "thread " + thread_text(first + l) + ": " + call_text(request) + ": reads lane " +
                  std::to_string(request.source) + ", which takes no part");
    }
    request.value = values[request.source];
    request.mask = ballot;
    request.wait = Wait::nothing;
    set_ready(first + l);
  }
}

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

std::string thread_text(unsigned thread) { return text(thread_index(thread)); }

int block_barrier(const char* call, Vote vote, bool predicate, const Site& site) {
  current.watching = false;
  Request& mine = block.request();
  mine.call = call;
  mine.site = site;
  mine.predicate = predicate;
  block.wait_for_block();
  const auto count = static_cast<int>(mine.value);
  if (vote == Vote::any) return count != 0 ? 1 : 0;
  if (vote == Vote::all) return count == static_cast<int>(block.threads()) ? 1 : 0;
  return count;
}

namespace {

Request& ask_warp(const char* call, unsigned mask, const Site& site) {
  current.watching = false;
  Request& mine = block.request();
  mine.call = call;
  mine.site = site;
  mine.mask = mask;
  mine.predicate = mine.orders = false;
  return mine;
}

unsigned lane_of() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kLanes; }

}  // namespace

unsigned warp_ballot(const char* call, unsigned mask, bool predicate, const Site& site) {
  Request& mine = ask_warp(call, mask, site);
  mine.source = lane_of();
  mine.predicate = predicate;
  block.wait_for_warp();
  return mine.mask;
}

std::uint64_t warp_shuffle(const char* call, Shuffle how, unsigned mask, std::uint64_t value, unsigned argument,
                           int width, const Site& site) {
  Request& mine = ask_warp(call, mask, site);
  if (width < 1 || width > 32 || !std::has_single_bit(static_cast<unsigned>(width))) {
    block.fail(call_text(mine) + ": the width is " + std::to_string(width) + ", not a power of two up to 32");
  }
  const unsigned lane = lane_of(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned last = segment + static_cast<unsigned>(width) - 1;
  mine.source = lane;  // of its own value, where CUDA says so
  switch (how) {
    case Shuffle::index:
      mine.source = segment + (argument & (static_cast<unsigned>(width) - 1));
      break;
    case Shuffle::up:
      if (argument <= lane - segment) mine.source = lane - argument;
      break;
    case Shuffle::down:
      if (argument <= last - lane) mine.source = lane + argument;
      break;
    case Shuffle::exclusive_or:
      if ((lane ^ argument) <= last) mine.source = lane ^ argument;
      break;
  }
  mine.value = value;
  block.wait_for_warp();
  return mine.value;
}

void warp_barrier(unsigned mask, const Site& site) {
  Request& mine = ask_warp("__syncwarp", mask, site);
  mine.source = lane_of();
  mine.orders = true;
  block.wait_for_warp();
}

}  // namespace detail

void set_schedule(Schedule schedule, std::uint64_t seed) { detail::block.set_schedule(schedule, seed); }
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
    const auto order = block.order_of(std::uint64_t{grid.x} * grid.y * grid.z);
    for (const std::uint64_t b : order) {
      blockIdx.x = static_cast<unsigned>(b % grid.x);
      blockIdx.y = static_cast<unsigned>(b / grid.x % grid.y);
      blockIdx.z = static_cast<unsigned>(b / (std::uint64_t{grid.x} * grid.y));
      const SharedMemory memory(shared);
      for (const StaticShared& variable : static_shared()) fill(variable.begin, variable.end);
      if (observer != nullptr) observer->begin_block();
      block.run(body, size.x * size.y * size.z);
    }
  }
  if (observer != nullptr) observer->end_launch();
}

}  // namespace simt
