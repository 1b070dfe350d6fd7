// The largest difference between two compilers' results for a sum with a product, fused or not.
#pragma once

#include <cmath>

#include "support/backend_test.h"

namespace descent::gpu {

// |fl(p + c) - fl(fl(p) + c)|; the left one is an FMA, which nvcc may emit anywhere. Rounding the product changes the
// sum by at most u |p|. Each of the two sums is rounded once more, by at most u times itself, and they differ by that
// same u |p|: at most u (|p| + 2 |sum|) (1 + 4 u). If either of two products may be fused, p is the larger one.
template <class V>
double fused_bound(V product, V sum) {
  const double u = test::unit<V>();
  return u * (std::abs(static_cast<double>(product)) + 2 * std::abs(static_cast<double>(sum))) * (1 + 4 * u);
}

}  // namespace descent::gpu
