// The index of a row's first maximum; NaN counts as larger than everything, as in Reduce::argmax_rows.
#pragma once

#include <cmath>
#include <cstdint>

namespace descent::cpu {

template <class T>
std::int64_t first_maximum(const T* row, std::int64_t n) {
  std::int64_t best = 0;
  for (std::int64_t j = 1; j < n && !std::isnan(row[best]); ++j) {
    if (row[j] > row[best] || std::isnan(row[j])) best = j;
  }
  return best;
}

}  // namespace descent::cpu
