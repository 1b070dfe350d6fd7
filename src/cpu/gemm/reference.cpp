// Reference implementation of the matrix product: the fast paths are tested against it.
#include "cpu/gemm/gemm.h"

namespace descent::cpu {

template <class T>
void gemm_reference(const GemmDesc& g, const T* a, const T* b, const T* bias, T* c) {
  for (std::int64_t i = 0; i < g.m; ++i) {
    for (std::int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < g.k; ++p) {
        const T x = g.transpose_a ? a[p * g.m + i] : a[i * g.k + p];
        const T y = g.transpose_b ? b[j * g.k + p] : b[p * g.n + j];
        sum += static_cast<double>(x) * static_cast<double>(y);
      }
      T& out = c[i * g.n + j];
      double value = g.alpha * sum;
      if (g.beta != 0) value += g.beta * static_cast<double>(out);
      if (bias != nullptr) value += static_cast<double>(bias[j]);
      out = static_cast<T>(g.activation == Activation::relu && value < 0 ? 0 : value);
    }
  }
}

template void gemm_reference(const GemmDesc&, const float*, const float*, const float*, float*);
template void gemm_reference(const GemmDesc&, const double*, const double*, const double*, double*);

}  // namespace descent::cpu
