// Linalg on the CPU. The register-tile product runs at every SIMD level; bench/gemm_bench.cpp compares it with
// OpenBLAS.
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
  gemm_tiled(gemm_kernels<T>(), g, a, b, bias, c);
}

View as_shape(View v, const Shape& shape) { return {v.data, shape, v.dtype}; }
ConstView as_shape(ConstView v, const Shape& shape) { return {v.data, shape, v.dtype}; }

class CpuLinalg final : public Linalg {
 public:
  void gemm(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c, View kept) override {
    if (g.activation != Activation::gelu_tanh) return product(g, a, b, bias, c);
    const Shape shape{g.batch, g.m, g.n};
    Gemm plain = g;
    plain.activation = Activation::none;
    const View argument = as_shape(kept ? kept : c, shape);
    product(plain, a, b, bias, argument);
    elementwise_family()->unary(Unary::gelu_tanh, 0, 0, argument, as_shape(c, shape));
  }

  std::int64_t relu_bits(DType, std::int64_t, std::int64_t) const override { return 0; }

  // The activation's pass finds c in the cache, or is far cheaper than the product.
  void gemm_through(const Gemm& g, ConstView a, ConstView b, ConstView y, ConstView kept, View c, Grad sums) override {
    const Shape shape{g.m, g.n};
    const View to = as_shape(c, shape);
    Gemm plain = g;
    plain.activation = Activation::none;
    product(plain, a, b, {}, to);
    if (g.activation == Activation::relu) {
      const ConstView mask = as_shape(y, shape);
      elementwise_family()->unary_backward(Unary::relu, 0, 0, mask, mask, to, {to});
    } else if (g.activation == Activation::gelu_tanh) {
      elementwise_family()->unary_backward(Unary::gelu_tanh, 0, 0, as_shape(kept, shape), {}, to, {to});
    }
    if (sums) reduce_family()->reduce(Reduction::sum, to, 1, g.m, g.n, sums);
  }

  void gemm_and_sums(const Gemm& g, ConstView a, ConstView b, View c, Grad sums) override {
    product(g, a, b, {}, c);
    const bool rows = g.transpose_a;  // a is [k, m]
    reduce_family()->reduce(Reduction::sum, a, rows ? 1 : g.m, g.k, rows ? g.m : 1, sums);
  }

 private:
  static void product(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c) {
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

Linalg* linalg_family() {
  static CpuLinalg* const family = new CpuLinalg;
  return family;
}

}  // namespace descent::cpu
