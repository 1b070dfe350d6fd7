#include "fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt::detail {
namespace {

constexpr std::size_t kMostFibers = 1024;  // threads of a block
constexpr std::size_t kGuard = 64 * 1024;  // below each stack; a multiple of any page size

#if defined(__x86_64__)

// Saves what the calling convention lets a function rely on, keeps the stack pointer in *save and goes on at load.
extern "C" void simt_switch(void** save, void* load);
asm(R"(
.text
.p2align 4
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");

void prepare(Fiber& fiber, void (*entry)()) {
  auto* top = reinterpret_cast<std::uintptr_t*>(fiber.stack + Fibers::kStack);
  *--top = 0;  // entry finds the stack as after a call, with 0 for a return address
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  fiber.context = top;
}

void release(Fiber&) {}
void switch_to(void*& save, void* load) { simt_switch(&save, load); }

#else

void prepare(Fiber& fiber, void (*entry)()) {
  if (fiber.context == nullptr) fiber.context = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(fiber.context);
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack;
  context->uc_stack.ss_size = Fibers::kStack;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
}

void release(Fiber& fiber) { delete static_cast<ucontext_t*>(fiber.context); }
void switch_to(void*& save, void* load) {
  if (save == nullptr) save = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(save), static_cast<ucontext_t*>(load));
}

#endif

}  // namespace

// The flow of control that launches, while a fiber runs.
struct Fibers::Outside {
  Fiber self;
  const void* stack = nullptr;
  std::size_t size = 0;
};

Fibers::Fibers() : outside_(std::make_unique<Outside>()) {
  reserved_ = kMostFibers * (kStack + kGuard);
  void* memory = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  lowest_ = static_cast<char*>(memory);
}

Fibers::~Fibers() {
  for (const auto& fiber : all_) release(*fiber);
  munmap(lowest_, reserved_);
}

Fiber* Fibers::start(void (*entry)()) {
  if (idle_.empty()) {
    char* stack = lowest_ + all_.size() * (kStack + kGuard) + kGuard;
    if (all_.size() == kMostFibers || mprotect(stack, kStack, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    all_.push_back(std::make_unique<Fiber>());
    all_.back()->stack = stack;
    idle_.push_back(all_.back().get());
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  fiber->fake_stack = nullptr;
  prepare(*fiber, entry);
  return fiber;
}

void Fibers::resume(Fiber* fiber) {
  running_ = fiber;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&outside_->self.fake_stack, fiber->stack, kStack);
#endif
  switch_to(outside_->self.context, fiber->context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(outside_->self.fake_stack, nullptr, nullptr);
#endif
}

void Fibers::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(running_->fake_stack, &outside_->stack, &outside_->size);
#endif
}

void Fibers::leave() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&running_->fake_stack, outside_->stack, outside_->size);
#endif
  switch_to(running_->context, outside_->self.context);
  arrived();
}

void Fibers::leave_for_good() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, outside_->stack, outside_->size);
#endif
  switch_to(running_->context, outside_->self.context);
  __builtin_unreachable();
}

void Fibers::recycle(Fiber* fiber) { idle_.push_back(fiber); }

void Fibers::abandon(Fiber* fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(fiber->stack, kStack);  // frames that are never returned from
#endif
  idle_.push_back(fiber);
}

}  // namespace simt::detail
