// The op group random: Philox (src/core/philox.h), keyed by element.
#pragma once

#include <cstdint>

#include "backend/view.h"

namespace descent {

struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  ConstView call;  // i32 [1] on the device: the call number
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void uniform(const RandomKey& key, double low, double high, View y) = 0;
  // Elements 2i and 2i + 1 are computed from words 2i and 2i + 1.
  virtual void normal(const RandomKey& key, double mean, double std, View y) = 0;
  // y = x / (1 - p) if the element's uniform number is >= p, else 0; the same call on dy is the backward.
  virtual void dropout(const RandomKey& key, double p, ConstView x, Grad y) = 0;
  virtual void permutation(const RandomKey& key, View y) = 0;  // i32 [n]: 0..n-1 sorted by (word of element i, i)
  virtual void advance(View call) = 0;                         // i32 [1]: call += 1
};

}  // namespace descent
