// Assembles the CPU backend from its families.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cpu/families.h"

namespace descent::cpu {
namespace {

std::atomic<bool>& reference_flag() {
  static std::atomic<bool> flag = [] {
    const char* text = std::getenv("DESCENT_CPU_REFERENCE");
    return text != nullptr && std::strcmp(text, "1") == 0;
  }();
  return flag;
}

}  // namespace

void set_reference_only(bool value) { reference_flag().store(value, std::memory_order_relaxed); }

bool reference_only() { return reference_flag().load(std::memory_order_relaxed); }

Backend& backend() {
  static Backend assembled{.device = Device::cpu(),
                           .runtime = runtime_family(),
                           .elementwise = elementwise_family(),
                           .reduce = reduce_family(),
                           .linalg = linalg_family(),
                           .conv = conv_family(),
                           .pool = pool_family(),
                           .norm = norm_family(),
                           .random = random_family(),
                           .loss = loss_family(),
                           .optim = optim_family(),
                           .index = index_family()};
  return assembled;
}

}  // namespace descent::cpu
