// How far two compilers may be apart on a product and the sum it enters.
#pragma once

#include <cmath>

#include "backend_test.h"

namespace descent::gpu {

// |fl(p + c) - fl(fl(p) + c)|, the left one an FMA, as nvcc makes it where it likes. Rounding the product moves the sum
// by at most u |p|; each of the two sums is rounded once more, by at most u times itself, and they are apart by that
// same u |p|: u (|p| + 2 |sum|) (1 + 2 u). Where either of two products may be the fused one, p is the larger.
template <class V>
double fused_bound(V product, V sum) {
  const double u = test::unit<V>();
  return u * (std::abs(static_cast<double>(product)) + 2 * std::abs(static_cast<double>(sum))) * (1 + 4 * u);
}

}  // namespace descent::gpu
