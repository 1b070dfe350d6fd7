// Chooses between the CPU backend's reference implementation and its fast paths.
#pragma once

#include "cpu/op_groups.h"

namespace descent::test {

// The choice holds during its lifetime; then the former one returns.
class ReferenceOnly {
 public:
  explicit ReferenceOnly(bool value = true) : before_(cpu::reference_only()) { cpu::set_reference_only(value); }
  ~ReferenceOnly() { cpu::set_reference_only(before_); }
  ReferenceOnly(const ReferenceOnly&) = delete;
  ReferenceOnly& operator=(const ReferenceOnly&) = delete;

 private:
  bool before_;
};

}  // namespace descent::test
