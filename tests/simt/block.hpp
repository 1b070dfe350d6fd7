// The threads of the block that runs, and how they wait for one another.
#pragma once

#include <array>
#include <exception>
#include <functional>
#include <string>

#include "schedule.hpp"
#include "state.hpp"

namespace simt::detail {

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

std::string call_text(const Request& request);

// One block at a time.
class Block {
 public:
  void run(const std::function<void()>& body, unsigned threads, Scheduler& scheduler);
  unsigned threads() const { return threads_; }

  // Called on the fiber of the running thread, whose request is then answered in place.
  Request& request() { return all_[running_].request; }
  void wait_for_block();
  void wait_for_warp();
  [[noreturn]] void fail(const std::string& what);  // all errors end the thread by an exception

 private:
  static void thread_main();
  void complete_warp(unsigned first, unsigned mask);
  void complete_block();
  std::string stuck() const;
  unsigned lanes_of_warp(unsigned first) const {
    return threads_ - first >= kLanes ? ~0u : (1u << (threads_ - first)) - 1;
  }
  void clean_up();

  std::array<Thread, kMostThreads> all_;
  Threads ready_;
  unsigned threads_ = 0, running_ = 0, returned_ = 0, at_barrier_ = 0;
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr thrown_;
};
extern Block block;

}  // namespace simt::detail
