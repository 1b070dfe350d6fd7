// Linalg on CUDA: f32 through cuBLASLt, f64 (and what cuBLASLt does not take) through cuBLAS; what they leave undone is
// a kernel of ours. TF32 and bf16 only where precision.h says so.
#include <type_traits>

#include "cuda/check.h"
#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"
#include "cuda/kernels/linalg.cuh"
#include "cuda/linalg_lt.h"

namespace descent::gpu {

template void finish(Queue&, std::int64_t, std::int64_t, const float*, double, const float*, Activation, float*);
template void finish(Queue&, std::int64_t, std::int64_t, const double*, double, const double*, Activation, double*);

namespace {

// c = alpha op(a) op(b) + beta c. cuBLAS gives the same bits in every run on one stream with a workspace of its own.
template <class T>
void blas_gemm(Context& context, const Gemm& g, const T* a, const T* b, T* c) {
  constexpr bool wide = std::is_same_v<T, double>;
  constexpr cudaDataType type = wide ? CUDA_R_64F : CUDA_R_32F;
  const cublasComputeType_t compute = wide ? CUBLAS_COMPUTE_64F : compute_type(precision());
  const ColumnMajor in(g);
  const T alpha = static_cast<T>(g.alpha), beta = static_cast<T>(g.beta);
  cublasHandle_t blas = context.blas();
  if (g.batch == 1) {
    check(cublasGemmEx_64(blas, in.op_first, in.op_second, in.rows, in.columns, g.k, &alpha, b, type, in.ld_first, a,
                          type, in.ld_second, &beta, c, type, in.ld_result, compute, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
  } else {
    check(cublasGemmStridedBatchedEx_64(blas, in.op_first, in.op_second, in.rows, in.columns, g.k, &alpha, b, type,
                                        in.ld_first, g.k * g.n, a, type, in.ld_second, g.m * g.k, &beta, c, type,
                                        in.ld_result, g.m * g.n, g.batch, compute, CUBLAS_GEMM_DEFAULT),
          "cublasGemmStridedBatchedEx");
  }
}

class GpuLinalg final : public Linalg {
 public:
  explicit GpuLinalg(Context& context) : context_(context), lt_(context) {}

  void gemm(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c) override {
    Queue& q = context_.queue();
    if (g.m == 0 || g.n == 0 || g.batch == 0) return;
    for_floating(c.dtype, [&]<class T>(T) {
      const std::int64_t rows = g.batch * g.m;
      if (g.k == 0) return finish<T>(q, rows, g.n, nullptr, g.beta, bias.as<T>(), g.activation, c.as<T>());
      const LtGemm::Done done = multiply(g, a.as<T>(), b.as<T>(), bias.as<T>(), c.as<T>());
      const T* bias_left = done.bias ? nullptr : bias.as<T>();
      const Activation activation_left = done.relu ? Activation::none : g.activation;
      if (bias_left == nullptr && activation_left == Activation::none) return;
      finish<T>(q, rows, g.n, nullptr, 1, bias_left, activation_left, c.as<T>());
    });
  }

 private:
  LtGemm::Done multiply(const Gemm& g, const float* a, const float* b, const float* bias, float* c) {
    if (const auto done = lt_.run(g, a, b, bias, c)) return *done;
    blas_gemm(context_, g, a, b, c);
    return {};
  }
  LtGemm::Done multiply(const Gemm& g, const double* a, const double* b, const double*, double* c) {
    blas_gemm(context_, g, a, b, c);
    return {};
  }

  Context& context_;
  LtGemm lt_;
};

}  // namespace

std::unique_ptr<Linalg> make_linalg(Context& context) { return std::make_unique<GpuLinalg>(context); }

}  // namespace descent::gpu
