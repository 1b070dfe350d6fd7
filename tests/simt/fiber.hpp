// Stacks to run on and the switch between them. AddressSanitizer is told of every switch.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace simt::detail {

// One suspended flow of control, or a place to start one.
struct Fiber {
  void* context = nullptr;     // saved stack pointer, or the ucontext of other CPUs
  char* stack = nullptr;       // lowest usable address
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// Hands out stacks and keeps those given back. One per process; fibers belong to the thread that launches.
class Fibers {
 public:
  static constexpr std::size_t kStack = 256 * 1024;

  Fibers();
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  Fiber* start(void (*entry)());  // entry must not return: it ends with leave_for_good()
  void resume(Fiber* fiber);      // from outside: runs the fiber until it leaves
  void leave();                   // from within: back to resume()'s caller, to be resumed later
  [[noreturn]] void leave_for_good();
  void recycle(Fiber* fiber);  // takes the stack of a finished fiber back
  void abandon(Fiber* fiber);  // or of one that will not be resumed: nothing on it is destroyed
  void arrived();              // must be the first call of entry()
  // Whether it lies in a stack.
  bool owns(const char* address) const { return address >= lowest_ && address < lowest_ + reserved_; }

 private:
  struct Outside;
  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> idle_;
  std::unique_ptr<Outside> outside_;
  Fiber* running_ = nullptr;
  char* lowest_ = nullptr;  // of the reserved range of all stacks
  std::size_t reserved_ = 0;
};

}  // namespace simt::detail
