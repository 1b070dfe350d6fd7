// A (height, width) pair for kernel sizes, strides and the like.
#pragma once

#include <cstdint>

#include "descent/export.h"

namespace descent::nn {

struct Pair {
  std::int64_t h = 1, w = 1;
  constexpr Pair(std::int64_t both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor)
  constexpr Pair(std::int64_t h_, std::int64_t w_) : h(h_), w(w_) {}
  friend bool operator==(const Pair&, const Pair&) = default;
};

}  // namespace descent::nn
