// Assembles the CPU backend from its op groups.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cpu/mixed_precision/cast_buffers.h"
#include "cpu/op_groups.h"

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
                           .runtime = runtime_ops(),
                           .elementwise = mixed(elementwise_ops()),
                           .reduce = mixed(reduce_ops()),
                           .gemm = mixed(gemm_ops()),
                           .conv = mixed(conv_ops()),
                           .pool = mixed(pool_ops()),
                           .norm = mixed(norm_ops()),
                           .random = mixed(random_ops()),
                           .softmax = softmax_ops(),
                           .loss = loss_ops(),
                           .optim = optim_ops(),
                           .indexing = mixed(indexing_ops())};
  return assembled;
}

}  // namespace descent::cpu
