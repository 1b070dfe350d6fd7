// Linalg on CUDA: f32 and bf16 through cuBLASLt, f64 (and what cuBLASLt does not take) through cuBLAS; what they leave
// undone is a kernel of ours. TF32 only where precision.h says so.
#include <mutex>

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
template void finish_relu(Queue&, std::int64_t, std::int64_t, const float*, float*, std::uint8_t*);
template void finish_relu(Queue&, std::int64_t, std::int64_t, const float*, __nv_bfloat16*, std::uint8_t*);

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
  const std::lock_guard lock(context.blas_mutex);
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

constexpr std::int64_t kGeluMultiple = 8;  // elements of a row of GELU's argument, for cuBLASLt

struct EndKinds {  // how cuBLASLt calls the end of a product that keeps nothing, and of one that keeps something
  cublasLtEpilogue_t plain, kept;
};
EndKinds forward_kinds(Activation activation, bool bias) {
  switch (activation) {
    case Activation::relu:
      return bias ? EndKinds{CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_AUX_BIAS}
                  : EndKinds{CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU_AUX};
    case Activation::gelu_tanh:
      return bias ? EndKinds{CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS}
                  : EndKinds{CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_AUX};
    case Activation::none:
      break;
  }
  const cublasLtEpilogue_t kind = bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  return {kind, kind};
}

Gemm without_activation(Gemm g) {
  g.activation = Activation::none;
  return g;
}

View as_matrix(View v, const Gemm& g) { return {v.data, {g.batch * g.m, g.n}, v.dtype}; }
ConstView as_matrix(ConstView v, const Gemm& g) { return {v.data, {g.batch * g.m, g.n}, v.dtype}; }

class GpuLinalg final : public Linalg {
 public:
  GpuLinalg(Context& context, Elementwise& elementwise, Reduce& reduce)
      : context_(context), lt_(context), elementwise_(elementwise), reduce_(reduce) {}

  void gemm(const Gemm& g, ConstView a, ConstView b, ConstView bias, View c, View kept) override {
    if (g.m == 0 || g.n == 0 || g.batch == 0) return;
    Twins twins(context_.queue());
    const Operands of = operands(twins, a, b, bias, c);
    // A layer is evaluated as it is trained: by the library's GELU only where it could also keep the argument.
    const bool could_keep = g.activation != Activation::gelu_tanh || (g.batch == 1 && g.n % kGeluMultiple == 0);
    const bool activate = g.activation != Activation::none && libraries_activate(c.dtype) && could_keep;
    if (activate && run(g, of, bias ? &of.bias : nullptr, kept, c)) return;
    if (g.activation == Activation::gelu_tanh) {
      const View argument = kept ? kept : c;
      affine(without_activation(g), of, bias, {}, argument);
      elementwise_.unary(Unary::gelu_tanh, 0, 0, as_matrix(argument, g), as_matrix(c, g));
    } else {
      affine(g, of, bias, kept, c);
    }
  }

  std::int64_t relu_bits(DType dtype, std::int64_t rows, std::int64_t n) const override {
    return dtype == DType::f64 ? 0 : rows * relu_pitch(n);
  }

  void gemm_through(const Gemm& g, ConstView a, ConstView b, ConstView y, ConstView kept, View c, Grad sums) override {
    Twins twins(context_.queue());
    const Operands of = operands(twins, a, b, {}, c);
    const bool with_sums = sums && sums.write == Write::overwrite && sums.view.dtype == c.dtype;
    if (with_sums && run_through(g, of, kept, sums.view.data, c)) return;
    if (!run_through(g, of, kept, nullptr, c)) {
      const View to = as_matrix(c, g);
      if (to.numel() > 0) affine(without_activation(g), of, {}, {}, to);
      if (g.activation == Activation::relu) {
        elementwise_.unary_backward(Unary::relu, 0, 0, as_matrix(y, g), as_matrix(y, g), to, {to});
      } else if (g.activation == Activation::gelu_tanh) {
        elementwise_.unary_backward(Unary::gelu_tanh, 0, 0, as_matrix(kept, g), {}, to, {to});
      }
    }
    if (sums) reduce_.reduce(Reduction::sum, as_matrix(c, g), 1, g.m, g.n, sums);
  }

  // b comes first for cuBLASLt (see ColumnMajor), so a, whose sums are wanted, is its second matrix. The library sums
  // only one that is transposed, as dy is for the gradient of a weight, and that has more than one row and column.
  void gemm_and_sums(const Gemm& g, ConstView a, ConstView b, View c, Grad sums) override {
    if (sums.write == Write::overwrite && sums.view.dtype == c.dtype && g.transpose_a && g.m > 1 && g.k > 1) {
      Twins twins(context_.queue());
      const Operands of = operands(twins, a, b, {}, c);
      if (run_lt(g, of, {.kind = CUBLASLT_EPILOGUE_BGRADB, .bias = sums.view.data}, c)) return;
    }
    gemm(g, a, b, {}, c, {});
    reduce_.reduce(Reduction::sum, a, g.transpose_a ? 1 : g.m, g.k, g.transpose_a ? g.m : 1, sums);
  }

 private:
  struct Operands {  // as the libraries take them
    ConstView a, b, bias;
  };
  static bool has_elements(const Gemm& g) { return g.m > 0 && g.n > 0 && g.k > 0 && g.batch > 0; }
  static bool mixed(const Operands& of) { return of.a.dtype == DType::bf16; }

  static Operands operands(Twins& twins, ConstView a, ConstView b, ConstView bias, View c) {
    if (a.dtype == DType::bf16 || b.dtype == DType::bf16) {
      a = twins.narrow(a);
      b = twins.narrow(b);
    }
    if (c.dtype == DType::bf16) bias = twins.narrow(bias);  // cuBLASLt takes it in the result's type alone
    return {a, b, bias};
  }

  bool run_lt(const Gemm& g, const Operands& of, const LtEnd& end, View c) {
    return c.dtype != DType::f64 && has_elements(g) &&
           lt_.run(g, {of.a.dtype, c.dtype}, of.a.data, of.b.data, end, c.data);
  }

  // With bias and activation at once.
  bool run(const Gemm& g, const Operands& of, const ConstView* bias, View kept, View c) {
    LtEnd end{.bias = bias != nullptr ? bias->data : nullptr, .kept = kept.data};
    const EndKinds kinds = forward_kinds(g.activation, bias != nullptr);
    end.kind = kept ? kinds.kept : kinds.plain;
    return (!kept || keeps(g, end)) && run_lt(g, of, end, c);
  }

  static bool keeps(const Gemm& g, LtEnd& end) {
    const bool bits = g.activation == Activation::relu;
    end.kept_stride = bits ? 8 * relu_pitch(g.n) : g.n;
    return g.batch == 1 && end.kept_stride % kGeluMultiple == 0;
  }

  // Without sums: null. NVIDIA's own bindings say that k = 1 is not supported here.
  bool run_through(const Gemm& g, const Operands& of, ConstView kept, const void* sums, View c) {
    if (!kept || g.k == 1) return false;
    const bool relu = g.activation == Activation::relu;
    if (!relu && !libraries_activate(c.dtype)) return false;
    LtEnd end{.bias = sums, .kept = kept.data};
    if (relu) {
      end.kind = sums != nullptr ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU;
    } else {
      end.kind = sums != nullptr ? CUBLASLT_EPILOGUE_DGELU_BGRAD : CUBLASLT_EPILOGUE_DGELU;
    }
    return keeps(g, end) && run_lt(g, of, end, c);
  }

  // The product, then what is left of bias and ReLU by a kernel of ours; `bits` or empty.
  void affine(const Gemm& g, const Operands& of, ConstView bias, View bits, View c) {
    Queue& q = context_.queue();
    const std::int64_t rows = g.batch * g.m;
    const bool fused_bias = bias && run_lt(g, of, {CUBLASLT_EPILOGUE_BIAS, of.bias.data}, c);
    if (!fused_bias && g.k > 0) product(g, of, c);
    for_storage(c.dtype, [&]<class T>(T) {
      const auto* left = fused_bias ? nullptr : bias.as<FinishBias<T>>();
      if (g.k == 0) {  // c is what is left
        finish<T>(q, rows, g.n, nullptr, g.beta, left, bits ? Activation::none : g.activation, c.as<T>());
        left = nullptr;
        if (!bits) return;
      }
      if constexpr (!std::is_same_v<T, double>) {
        if (bits) return finish_relu<T>(q, rows, g.n, left, c.as<T>(), bits.as<std::uint8_t>());
      }
      if (left == nullptr && g.activation == Activation::none) return;
      finish<T>(q, rows, g.n, nullptr, 1, left, g.activation, c.as<T>());
    });
  }

  void product(const Gemm& g, const Operands& of, View c) {
    if (run_lt(g, of, {}, c)) return;
    if (c.dtype == DType::f64) {
      return blas_gemm<double>(context_, g, {CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F}, of.a.data, of.b.data, c.data);
    }
    const cublasComputeType_t compute = mixed(of) ? CUBLAS_COMPUTE_32F : compute_type(precision());
    blas_gemm<float>(context_, g, {cuda_type(of.a.dtype), cuda_type(c.dtype), compute}, of.a.data, of.b.data, c.data);
  }

  Context& context_;
  LtGemm lt_;
  Elementwise& elementwise_;
  Reduce& reduce_;
};

}  // namespace

std::unique_ptr<Linalg> make_linalg(Context& context, Elementwise& elementwise, Reduce& reduce) {
  return std::make_unique<GpuLinalg>(context, elementwise, reduce);
}

}  // namespace descent::gpu
