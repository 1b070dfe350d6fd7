// Gemm on the CPU. The register-tile product runs at every SIMD level; bench/gemm_bench.cpp
// compares it with OpenBLAS.
#include "cpu/gemm/gemm.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kSmallMatrix = 1 << 21;  // multiplies: smaller products of a batch are one task each

template <class T>
void gemm_one(const GemmDesc& g, const T* a, const T* b, const T* bias, T* c) {
  if (reference_only() || g.k == 0) return gemm_reference(g, a, b, bias, c);
  gemm_tiled(gemm_kernels<T>(), g, a, b, bias, c);
}

View as_shape(View v, const Shape& shape) { return {v.data, shape, v.dtype}; }
ConstView as_shape(ConstView v, const Shape& shape) { return {v.data, shape, v.dtype}; }

class CpuGemm final : public Gemm {
 public:
  void gemm(const GemmDesc& g, ConstView a, ConstView b, ConstView bias, View c, View aux) override {
    if (g.activation != Activation::gelu_tanh) return product(g, a, b, bias, c);
    const Shape shape{g.batch, g.m, g.n};
    GemmDesc plain = g;
    plain.activation = Activation::none;
    const View argument = as_shape(aux ? aux : c, shape);
    product(plain, a, b, bias, argument);
    elementwise_ops()->unary(Unary::gelu_tanh, 0, 0, argument, as_shape(c, shape));
  }

  AuxSpec aux(Activation activation, DType dtype, std::int64_t rows, std::int64_t n) const override {
    return activation == Activation::gelu_tanh ? AuxSpec{{rows, n}, dtype} : AuxSpec();
  }

  // The activation is a pass of its own: it finds c in the cache, or is far cheaper than the product.
  void gemm_dact_bgrad(const GemmDesc& g, ConstView a, ConstView b, ConstView y, ConstView aux, View c,
                       Grad sums) override {
    const Shape shape{g.m, g.n};
    const View to = as_shape(c, shape);
    GemmDesc plain = g;
    plain.activation = Activation::none;
    product(plain, a, b, {}, to);
    if (g.activation == Activation::relu) {
      const ConstView mask = as_shape(y, shape);
      elementwise_ops()->unary_backward(Unary::relu, 0, 0, mask, mask, to, {to});
    } else if (g.activation == Activation::gelu_tanh) {
      elementwise_ops()->unary_backward(Unary::gelu_tanh, 0, 0, as_shape(aux, shape), {}, to, {to});
    }
    if (sums) reduce_ops()->reduce(ReduceOp::sum, to, 1, g.m, g.n, sums);
  }

  void gemm_bgrad(const GemmDesc& g, ConstView a, ConstView b, View c, Grad sums) override {
    product(g, a, b, {}, c);
    const bool rows = g.transpose_a;  // a is [k, m]
    reduce_ops()->reduce(ReduceOp::sum, a, rows ? 1 : g.m, g.k, rows ? g.m : 1, sums);
  }

 private:
  static void product(const GemmDesc& g, ConstView a, ConstView b, ConstView bias, View c) {
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

Gemm* gemm_ops() {
  static CpuGemm* const group = new CpuGemm;
  return group;
}

}  // namespace descent::cpu
