// Gemm on CUDA: f32 and bf16 through cuBLASLt, f64 (and what cuBLASLt does not support) through cuBLAS; our own
// kernels do what these don't fuse. TF32 only if precision.h allows it.
#include <mutex>

#include "cuda/cast_buffers.h"
#include "cuda/dispatch.h"
#include "cuda/gemm/cublaslt.h"
#include "cuda/gemm/gemm.cuh"
#include "cuda/op_groups.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {

template void epilogue(Stream&, std::int64_t, std::int64_t, const float*, double, const float*, Activation, float*);
template void epilogue(Stream&, std::int64_t, std::int64_t, const double*, double, const double*, Activation, double*);
template void epilogue(Stream&, std::int64_t, std::int64_t, const __nv_bfloat16*, double, const float*, Activation,
                       __nv_bfloat16*);
template void epilogue_relu(Stream&, std::int64_t, std::int64_t, const float*, float*, std::uint8_t*);
template void epilogue_relu(Stream&, std::int64_t, std::int64_t, const float*, __nv_bfloat16*, std::uint8_t*);

namespace {

// The types of a product in cuBLAS's terms. cuBLAS is deterministic on one stream with its own workspace.
struct BlasTypes {
  cudaDataType operands, result;
  cublasComputeType_t compute;
};

// c = alpha op(a) op(b) + beta c; S: the type of alpha and beta.
template <class S>
void blas_gemm(Context& context, const GemmDesc& g, const BlasTypes& types, const void* a, const void* b, void* c) {
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

constexpr std::int64_t kGeluMultiple = 8;  // cuBLASLt saves GELU's argument only if n is a multiple of it

struct EndKinds {  // cuBLASLt's epilogue without and with auxiliary output
  cublasLtEpilogue_t plain, with_aux;
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

GemmDesc without_activation(GemmDesc g) {
  g.activation = Activation::none;
  return g;
}

View as_matrix(View v, const GemmDesc& g) { return {v.data, {g.batch * g.m, g.n}, v.dtype}; }
ConstView as_matrix(ConstView v, const GemmDesc& g) { return {v.data, {g.batch * g.m, g.n}, v.dtype}; }

class GpuGemm final : public Gemm {
 public:
  GpuGemm(Context& context, Elementwise& elementwise, Reduce& reduce)
      : context_(context), lt_(context), elementwise_(elementwise), reduce_(reduce) {}

  void gemm(const GemmDesc& g, ConstView a, ConstView b, ConstView bias, View c, View aux) override {
    if (g.m == 0 || g.n == 0 || g.batch == 0) return;
    CastBuffers casts(context_.stream());
    const Operands of = operands(casts, a, b, bias, c);
    // Evaluation must match training, so the library's GELU is used only if it could also save its argument.
    const bool could_keep = g.activation != Activation::gelu_tanh || (g.batch == 1 && g.n % kGeluMultiple == 0);
    const bool activate = g.activation != Activation::none && libraries_activate(c.dtype) && could_keep;
    if (activate && run(g, of, bias ? &of.bias : nullptr, aux, c)) return;
    if (g.activation == Activation::gelu_tanh) {
      const View argument = aux ? aux : c;
      affine(without_activation(g), of, bias, {}, argument);
      elementwise_.unary(Unary::gelu_tanh, 0, 0, as_matrix(argument, g), as_matrix(c, g));
    } else {
      affine(g, of, bias, aux, c);
    }
  }

  AuxSpec aux(Activation activation, DType dtype, std::int64_t rows, std::int64_t n) const override {
    if (activation == Activation::gelu_tanh) return {{rows, n}, dtype};
    if (activation != Activation::relu) return {};
    return dtype == DType::f64 ? AuxSpec() : AuxSpec{{rows * relu_pitch(n)}, DType::u8};
  }

  void gemm_dact_bgrad(const GemmDesc& g, ConstView a, ConstView b, ConstView y, ConstView aux, View c,
                       Grad sums) override {
    CastBuffers casts(context_.stream());
    const Operands of = operands(casts, a, b, {}, c);
    const bool with_sums = sums && sums.write == Write::overwrite && sums.view.dtype == c.dtype;
    if (with_sums && run_through(g, of, aux, sums.view.data, c)) return;
    if (!run_through(g, of, aux, nullptr, c)) {
      const View to = as_matrix(c, g);
      if (to.numel() > 0) affine(without_activation(g), of, {}, {}, to);
      if (g.activation == Activation::relu) {
        elementwise_.unary_backward(Unary::relu, 0, 0, as_matrix(y, g), as_matrix(y, g), to, {to});
      } else if (g.activation == Activation::gelu_tanh) {
        elementwise_.unary_backward(Unary::gelu_tanh, 0, 0, as_matrix(aux, g), {}, to, {to});
      }
    }
    if (sums) reduce_.reduce(ReduceOp::sum, as_matrix(c, g), 1, g.m, g.n, sums);
  }

  // For cuBLASLt b is the first matrix (see ColumnMajor), so a, which is summed, is the second. cuBLASLt sums it only
  // if it is transposed, as dy is for a weight's gradient, and has more than one row and column.
  void gemm_bgrad(const GemmDesc& g, ConstView a, ConstView b, View c, Grad sums) override {
    if (sums.write == Write::overwrite && sums.view.dtype == c.dtype && g.transpose_a && g.m > 1 && g.k > 1) {
      CastBuffers casts(context_.stream());
      const Operands of = operands(casts, a, b, {}, c);
      if (run_lt(g, of, {.kind = CUBLASLT_EPILOGUE_BGRADB, .bias = sums.view.data}, c)) return;
    }
    gemm(g, a, b, {}, c, {});
    reduce_.reduce(ReduceOp::sum, a, g.transpose_a ? 1 : g.m, g.k, g.transpose_a ? g.m : 1, sums);
  }

 private:
  struct Operands {  // cast to the types that the libraries take
    ConstView a, b, bias;
  };
  static bool has_elements(const GemmDesc& g) { return g.m > 0 && g.n > 0 && g.k > 0 && g.batch > 0; }
  static bool mixed(const Operands& of) { return of.a.dtype == DType::bf16; }

  static Operands operands(CastBuffers& casts, ConstView a, ConstView b, ConstView bias, View c) {
    if (a.dtype == DType::bf16 || b.dtype == DType::bf16) {
      a = casts.narrow(a);
      b = casts.narrow(b);
    }
    if (c.dtype == DType::bf16) bias = casts.narrow(bias);  // cuBLASLt takes it in the result's type alone
    return {a, b, bias};
  }

  bool run_lt(const GemmDesc& g, const Operands& of, const LtEpilogue& end, View c) {
    return c.dtype != DType::f64 && has_elements(g) &&
           lt_.run(g, {of.a.dtype, c.dtype}, of.a.data, of.b.data, end, c.data);
  }

  // Fuses bias and activation.
  bool run(const GemmDesc& g, const Operands& of, const ConstView* bias, View aux, View c) {
    LtEpilogue end{.bias = bias != nullptr ? bias->data : nullptr, .aux = aux.data};
    const EndKinds kinds = forward_kinds(g.activation, bias != nullptr);
    end.kind = aux ? kinds.with_aux : kinds.plain;
    return (!aux || keeps(g, end)) && run_lt(g, of, end, c);
  }

  static bool keeps(const GemmDesc& g, LtEpilogue& end) {
    const bool bits = g.activation == Activation::relu;
    end.aux_stride = bits ? 8 * relu_pitch(g.n) : g.n;
    return g.batch == 1 && end.aux_stride % kGeluMultiple == 0;
  }

  // sums may be null. NVIDIA's own bindings say that k = 1 is not supported here.
  bool run_through(const GemmDesc& g, const Operands& of, ConstView aux, const void* sums, View c) {
    if (!aux || g.k == 1) return false;
    const bool relu = g.activation == Activation::relu;
    if (!relu && !libraries_activate(c.dtype)) return false;
    LtEpilogue end{.bias = sums, .aux = aux.data};
    if (relu) {
      end.kind = sums != nullptr ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU;
    } else {
      end.kind = sums != nullptr ? CUBLASLT_EPILOGUE_DGELU_BGRAD : CUBLASLT_EPILOGUE_DGELU;
    }
    return keeps(g, end) && run_lt(g, of, end, c);
  }

  // The product, then bias and ReLU, if not fused, by our own kernel. `bits`: ReLU's mask, or empty.
  void affine(const GemmDesc& g, const Operands& of, ConstView bias, View bits, View c) {
    Stream& stream = context_.stream();
    const std::int64_t rows = g.batch * g.m;
    const bool fused_bias = bias && run_lt(g, of, {CUBLASLT_EPILOGUE_BIAS, of.bias.data}, c);
    if (!fused_bias && g.k > 0) product(g, of, c);
    for_storage(c.dtype, [&]<class T>(T) {
      const auto* left = fused_bias ? nullptr : bias.as<EpilogueBias<T>>();
      if (g.k == 0) {  // no product: c = activation(beta c + bias)
        epilogue<T>(stream, rows, g.n, nullptr, g.beta, left, bits ? Activation::none : g.activation, c.as<T>());
        left = nullptr;
        if (!bits) return;
      }
      if constexpr (!std::is_same_v<T, double>) {
        if (bits) return epilogue_relu<T>(stream, rows, g.n, left, c.as<T>(), bits.as<std::uint8_t>());
      }
      if (left == nullptr && g.activation == Activation::none) return;
      epilogue<T>(stream, rows, g.n, nullptr, 1, left, g.activation, c.as<T>());
    });
  }

  void product(const GemmDesc& g, const Operands& of, View c) {
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

std::unique_ptr<Gemm> make_gemm(Context& context, Elementwise& elementwise, Reduce& reduce) {
  return std::make_unique<GpuGemm>(context, elementwise, reduce);
}

}  // namespace descent::gpu
