// Matrix products on the host, for column-major matrices.
#pragma once

#include <cstdint>

namespace simulated {

// c [m x n] += a [m x k] b [k x n]; a and c have no gaps, the columns of b begin ldb elements apart. The order is
// fixed: each element of c adds its k products in sequence, first to last; each product and each sum is rounded to T.
template <class T>
void multiply_add(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, std::int64_t ldb, T* c);

extern template void multiply_add(std::int64_t, std::int64_t, std::int64_t, const float*, const float*, std::int64_t,
                                  float*);
extern template void multiply_add(std::int64_t, std::int64_t, std::int64_t, const double*, const double*, std::int64_t,
                                  double*);

}  // namespace simulated
