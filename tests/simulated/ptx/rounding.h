// Floating-point rounding modes other than to nearest.
#pragma once

#include <cfenv>

namespace simulated::ptx {

// Sets the processor's rounding mode (FE_TOWARDZERO ...) for a scope. The functions that set the mode are opaque to the
// compiler, but do not order arithmetic on values in registers. Only code that reads its operands from memory and
// writes its results to memory within the scope is safe from being moved out of it.
class RoundingMode {
 public:
  explicit RoundingMode(int mode) : before_(std::fegetround()) { std::fesetround(mode); }
  ~RoundingMode() { std::fesetround(before_); }
  RoundingMode(const RoundingMode&) = delete;
  RoundingMode& operator=(const RoundingMode&) = delete;

 private:
  int before_;
};

}  // namespace simulated::ptx
