// With AddressSanitizer: its report ends with the thread of the kernel that it is about.
#if defined(__SANITIZE_ADDRESS__)

#include <sanitizer/common_interface_defs.h>

#include <cstdio>

#include "state.hpp"

namespace simt::detail {
namespace {

void say_where() {
  if (!current.watching) return;
  std::fprintf(stderr, "In kernel %s, block %s, thread %s\n", current.name, text(blockIdx).c_str(),
               text(threadIdx).c_str());
}

[[maybe_unused]] const bool registered = (__sanitizer_set_death_callback(say_where), true);

}  // namespace
}  // namespace simt::detail

extern "C" __attribute__((visibility("default"))) const char* __ubsan_default_options() { return "print_stacktrace=1"; }

#endif
