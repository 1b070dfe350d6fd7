// Linalg on the CPU: which way a matrix product goes. The register-tile product was the fastest on every shape that was
// measured (bench/gemm_bench.cpp); processors without fused multiply-add are better served by OpenBLAS.
#include "cpu/dispatch.h"
#include "cpu/families.h"
#include "cpu/gemm.h"
#include "cpu/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kSmallMatrix = 1 << 21;  // multiplies: smaller ones of a batch are shared out whole

template <class T>
void gemm_one(const Gemm& g, const T* a, const T* b, const T* bias, T* c) {
  if (reference_only() || g.k == 0) return gemm_reference(g, a, b, bias, c);
  if (const GemmKernels<T>* kernels = gemm_kernels<T>()) return gemm_tiled(*kernels, g, a, b, bias, c);
  gemm_blas(g, a, b, bias, c);
}

class CpuLinalg final : public Linalg {
 public:
  void gemm(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c) override {
    if (g.m == 0 || g.n == 0 || g.batch == 0) return;
    for_floating(c.dtype, [&]<class T>(T) {
      const auto one = [&](std::int64_t i) {
        gemm_one(g, a.as<T>() + i * g.m * g.k, b.as<T>() + i * g.k * g.n, bias.as<T>(), c.as<T>() + i * g.m * g.n);
      };
      if (g.m * g.n * g.k < kSmallMatrix) {
        parallel_for(g.batch, one);
      } else {
        for (std::int64_t i = 0; i < g.batch; ++i) one(i);
      }
    });
  }
};

}  // namespace

template <>
const GemmKernels<float>* gemm_kernels() {
  return simd_level() == SimdLevel::base ? nullptr : &gemm_f32();
}
template <>
const GemmKernels<double>* gemm_kernels() {
  return simd_level() == SimdLevel::base ? nullptr : &gemm_f64();
}

Linalg* linalg_family() {
  static CpuLinalg* const family = new CpuLinalg;
  return family;
}

}  // namespace descent::cpu
