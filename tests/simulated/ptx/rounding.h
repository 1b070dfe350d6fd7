// Floating point that is not rounded to the nearest value.
#pragma once

#include <cfenv>

namespace simulated::ptx {

// Sets the mode of the processor (FE_TOWARDZERO ...) for a scope. Only what reads its operands from memory and writes
// its results there within the scope is safe from being moved out of it: the functions that set the mode are opaque to
// the compiler, but arithmetic on values that it holds already is not bound to them.
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
