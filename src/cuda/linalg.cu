// Linalg on CUDA: f32 and bf16 through cuBLASLt, f64 (and what cuBLASLt does not take) through cuBLAS; what they leave
// undone is a kernel of ours. TF32 only where precision.h says so.
#include "cuda/check.h"
#include "cuda/context.h"
#include "cuda/dispatch.h"
#include "cuda/families.h"
#include "cuda/kernels/linalg.cuh"
#include "cuda/linalg_lt.h"
#include "cuda/twins.h"

namespace descent::gpu {

template void finish(Queue&, std::int64_t, std::int64_t, const float*, double, const float*, Activation, float*);
template void finish(Queue&, std::int64_t, std::int64_t, const double*, double, const double*, Activation, double*);
template void finish(Queue&, std::int64_t, std::int64_t, const __nv_bfloat16*, double, const float*, Activation,
                     __nv_bfloat16*);

namespace {

// How cuBLAS calls the types of a product. cuBLAS gives the same bits in every run on one stream with a workspace of
// its own.
struct BlasTypes {
  cudaDataType operands, result;
  cublasComputeType_t compute;
};

// c = alpha op(a) op(b) + beta c; S: the type of alpha and beta.
template <class S>
void blas_gemm(Context& context, const Gemm& g, const BlasTypes& types, const void* a, const void* b, void* c) {
  const ColumnMajor in(g);
  const S alpha = static_cast<S>(g.alpha), beta = static_cast<S>(g.beta);
  cublasHandle_t blas = context.blas();
  if (g.batch == 1) {
    check(cublasGemmEx_64(blas, in.op_first, in.op_second, in.rows, in.columns, g.k, &alpha, b, types.operands,
                          in.ld_first, a, types.operands, in.ld_second, &beta, c, types.result, in.ld_result,
                          types.compute, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
  } else {
    check(cublasGemmStridedBatchedEx_64(blas, in.op_first, in.op_second, in.rows, in.columns, g.k, &alpha, b,
                                        types.operands, in.ld_first, g.k * g.n, a, types.operands, in.ld_second,
                                        g.m * g.k, &beta, c, types.result, in.ld_result, g.m * g.n, g.batch,
                                        types.compute, CUBLAS_GEMM_DEFAULT),
          "cublasGemmStridedBatchedEx");
  }
}

class GpuLinalg final : public Linalg {
 public:
  explicit GpuLinalg(Context& context) : context_(context), lt_(context) {}

  void gemm(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c) override {
    if (g.m == 0 || g.n == 0 || g.batch == 0) return;
    Queue& q = context_.queue();
    for_storage(c.dtype, [&]<class T>(T) {
      const auto* own_bias = bias.as<FinishBias<T>>();
      const std::int64_t rows = g.batch * g.m;
      if (g.k == 0) return finish<T>(q, rows, g.n, nullptr, g.beta, own_bias, g.activation, c.as<T>());
      const LtGemm::Done done = multiply(g, a, b, bias, c);
      const auto* bias_left = done.bias ? nullptr : own_bias;
      const Activation activation_left = done.relu ? Activation::none : g.activation;
      if (bias_left == nullptr && activation_left == Activation::none) return;
      finish<T>(q, rows, g.n, nullptr, 1, bias_left, activation_left, c.as<T>());
    });
  }

 private:
  LtGemm::Done multiply(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c) {
    if (c.dtype == DType::f64) {
      blas_gemm<double>(context_, g, {CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F}, a.data, b.data, c.data);
      return {};
    }
    Twins twins(context_.queue());
    const bool mixed = a.dtype == DType::bf16 || b.dtype == DType::bf16;
    if (mixed) {
      a = twins.narrow(a);
      b = twins.narrow(b);
    }
    if (c.dtype == DType::bf16) bias = twins.narrow(bias);  // cuBLASLt takes it in the result's type alone
    const GemmTypes types{a.dtype, c.dtype};
    if (const auto done = lt_.run(g, types, a.data, b.data, bias.data, c.data)) return *done;
    const cublasComputeType_t compute = mixed ? CUBLAS_COMPUTE_32F : compute_type(precision());
    blas_gemm<float>(context_, g, {cuda_type(types.operands), cuda_type(types.result), compute}, a.data, b.data,
                     c.data);
    return {};
  }

  Context& context_;
  LtGemm lt_;
};

}  // namespace

std::unique_ptr<Linalg> make_linalg(Context& context) { return std::make_unique<GpuLinalg>(context); }

}  // namespace descent::gpu
