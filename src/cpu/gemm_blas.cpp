// The matrix product through CBLAS, called on one thread at a time per piece of a fixed tiling.
#include <cblas.h>

#include <algorithm>

#include "cpu/gemm.h"
#include "cpu/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kTile = 128;  // rows and columns of c per call
constexpr std::int64_t kDepth = 1 << 20;

// OpenBLAS must not start threads of its own beside our pool.
void set_one_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
          const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a, int lda,
          const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace

template <class T>
void gemm_blas(const Gemm& g, const T* a, const T* b, const T* bias, T* c) {
  set_one_thread();
  const CBLAS_TRANSPOSE ta = g.transpose_a ? CblasTrans : CblasNoTrans, tb = g.transpose_b ? CblasTrans : CblasNoTrans;
  const std::int64_t lda = g.transpose_a ? g.m : g.k, ldb = g.transpose_b ? g.k : g.n;
  const std::int64_t down = (g.m + kTile - 1) / kTile, across = (g.n + kTile - 1) / kTile;
  parallel_for(down * across, [&](std::int64_t task) {
    const std::int64_t i = task / across * kTile, j = task % across * kTile;
    const std::int64_t m = std::min(kTile, g.m - i), n = std::min(kTile, g.n - j);
    T* const tile = c + i * g.n + j;
    for (std::int64_t p = 0; p < g.k; p += kDepth) {  // CBLAS counts in int
      call(ta, tb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(std::min(kDepth, g.k - p)),
           static_cast<T>(g.alpha), a + (g.transpose_a ? p * lda + i : i * lda + p), static_cast<int>(lda),
           b + (g.transpose_b ? j * ldb + p : p * ldb + j), static_cast<int>(ldb),
           p == 0 ? static_cast<T>(g.beta) : T{1}, tile, static_cast<int>(g.n));
    }
    if (bias == nullptr && g.activation == Activation::none) return;
    for (std::int64_t r = 0; r < m; ++r) {
      for (std::int64_t s = 0; s < n; ++s) {
        T& value = tile[r * g.n + s];
        if (bias != nullptr) value += bias[j + s];
        if (g.activation == Activation::relu && value < 0) value = 0;
      }
    }
  });
}

template void gemm_blas(const Gemm&, const float*, const float*, const float*, float*);
template void gemm_blas(const Gemm&, const double*, const double*, const double*, double*);

}  // namespace descent::cpu
