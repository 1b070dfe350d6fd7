// Helpers of extra_repr, which formats options as PyTorch does.
#pragma once

#include <fmt/format.h>

#include <string>

#include "descent/layers.h"

namespace descent::nn {

inline std::string text_of(Pair pair) {
  return pair.h == pair.w ? fmt::format("{}", pair.h) : fmt::format("({}, {})", pair.h, pair.w);
}

// Appends ", name=value" if the value is not the default.
inline void append_unless(std::string& text, const char* name, Pair value, Pair usual) {
  if (!(value == usual)) text += fmt::format(", {}={}", name, text_of(value));
}

}  // namespace descent::nn
