// Assembles the CPU backend from its families.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cpu/families.h"
#include "cpu/mixed.h"

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
                           .elementwise = mixed(elementwise_family()),
                           .reduce = mixed(reduce_family()),
                           .linalg = mixed(linalg_family()),
                           .conv = mixed(conv_family()),
                           .pool = mixed(pool_family()),
                           .norm = mixed(norm_family()),
                           .random = mixed(random_family()),
                           .loss = loss_family(),
                           .optim = optim_family(),
                           .index = mixed(index_family())};
  return assembled;
}

}  // namespace descent::cpu
