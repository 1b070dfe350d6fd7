// Faults that the tests put into backward passes, to prove that the suite notices them. Nothing else sets `injected`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace descent::fault {

enum class Kind : std::uint8_t {
  scale,      // 1.001 times the gradient
  negate,     // the wrong sign
  drop,       // an input's gradient is not written
  overwrite,  // written where it was to be added
  shift,      // each element is its left neighbour's
  zero_last,  // the last element is forgotten
  ignore_dy,  // the chain rule is forgotten: dy is taken for 1
};

struct Fault {
  std::string_view op;
  Kind kind = Kind::scale;
  std::size_t input = 0;  // the input whose gradient is hurt
  int count = 0;          // how often the fault struck
};

inline constinit thread_local Fault* injected = nullptr;

void apply(Kind kind, std::vector<double>& gradient);

}  // namespace descent::fault
