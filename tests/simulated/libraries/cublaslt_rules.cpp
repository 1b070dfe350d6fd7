// The rules of cublasLtMatmul and its heuristics. Sources: "doc" is the cuBLAS library's documentation, cited by
// section; "header" is cublasLt.h, whose comments are cited by enumerator; "nvmath" is NVIDIA's nvmath-python 1.0,
// which refuses what cuBLASLt does not support (linalg/_internal/epilog_protocol.py).
#include "libraries/cublaslt_rules.h"

#include <limits>

#include "control.h"

namespace simulated {
namespace {

using Sums = Epilogue::Sums;

Refusal invalid(std::string why) { return {CUBLAS_STATUS_INVALID_VALUE, std::move(why)}; }
Refusal unsupported(std::string why) { return {CUBLAS_STATUS_NOT_SUPPORTED, std::move(why)}; }

// Documented features that are not simulated, because nothing here uses them.
std::optional<Refusal> check_simulated(const MatmulDesc& desc) {
  if (desc.pointer_mode != CUBLASLT_POINTER_MODE_HOST) return unsupported("pointer mode: not simulated");
  if (desc.fill_mode != CUBLAS_FILL_MODE_FULL) return unsupported("fill mode: not simulated");
  if (desc.op_a == CUBLAS_OP_C || desc.op_b == CUBLAS_OP_C) return unsupported("conjugation: not simulated");
  return std::nullopt;
}

// header, CUBLASLT_MATRIX_LAYOUT_LD: at least the rows, so that columns do not overlap; _ROWS, _COLS: "Usually only
// values that can be expressed as int32_t are supported".
std::optional<Refusal> check_layout(const MatrixLayout& layout, const char* name, bool may_broadcast) {
  constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
  if (layout.rows == 0 || layout.columns == 0) return invalid(std::string(name) + " is empty");
  if (layout.rows > most || layout.columns > most) return unsupported(std::string(name) + ": more than 2^31 - 1");
  // doc, "cublasLtMatmul()", footnote of the table of types: epilogues with an activation or a bias are not supported
  // if D's order is CUBLASLT_ORDER_ROW. Only column order is simulated, for every matrix.
  if (layout.order != CUBLASLT_ORDER_COL) return unsupported(std::string(name) + ": an order other than columns");
  if (layout.batch < 1) return invalid(std::string(name) + ": batch count");
  const auto rows = static_cast<std::int64_t>(layout.rows), columns = static_cast<std::int64_t>(layout.columns);
  // doc, "cublasLtMatmul()": "the leading dimension of C can be 0 to achieve row or column broadcast" (not simulated).
  if (layout.ld == 0 && may_broadcast) return unsupported(std::string(name) + ": broadcast is not simulated");
  if (layout.ld < rows) return invalid(std::string(name) + ": leading dimension");
  if (layout.batch > 1 && may_broadcast && layout.stride < layout.ld * (columns - 1) + rows) {
    return invalid(std::string(name) + ": matrices of a batch overlap");
  }
  return std::nullopt;
}

// doc, "cublasLtMatmul()", the table of compute type, scale type, Atype/Btype, Ctype and bias type. Not simulated: f16,
// f8, f64, integers, complex numbers, and f32's other compute types (FAST_16F, FAST_16BF, EMULATED_16BFX9).
bool supports_types(std::int32_t compute, std::int32_t scale, std::uint32_t ab, std::uint32_t cd) {
  if (scale != CUDA_R_32F) return false;
  switch (compute) {
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
      return (ab == CUDA_R_16BF && (cd == CUDA_R_16BF || cd == CUDA_R_32F)) || (ab == CUDA_R_32F && cd == CUDA_R_32F);
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return ab == CUDA_R_32F && cd == CUDA_R_32F;
    default:
      return false;
  }
}

std::optional<Refusal> check_auxiliary(const MatmulProblem& problem, const MatmulDesc& desc) {
  const Product& p = problem.product;
  const bool relu = problem.epilogue.is_relu();
  if (desc.aux == nullptr) return invalid("no CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER");
  // header, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD and _AUX_BATCH_STRIDE: multiples of 128 for ReLU's bits, of 8 for
  // GELU's argument. Our own rule: the buffers of a batch must not overlap, nor be shared (nvmath: stride 0).
  const std::int64_t multiple = relu ? 128 : 8;
  if (desc.aux_ld < p.m) return invalid("leading dimension of the auxiliary buffer below the rows of D");
  if (desc.aux_ld % multiple != 0) return invalid("leading dimension of the auxiliary buffer: not a multiple");
  if (p.batch > 1 && (desc.aux_batch_stride % multiple != 0 || desc.aux_batch_stride < desc.aux_ld * p.n)) {
    return invalid("batch stride of the auxiliary buffer");
  }
  // header, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE: D's type unless D is f8; for ReLU it is a bit-mask. "If set
  // for an unsupported ... combination, calling cublasLtMatmul() will return CUBLAS_INVALID_VALUE".
  if (desc.aux_type != -1 && (relu || desc.aux_type != static_cast<std::int32_t>(p.d.type))) {
    return invalid("type of the auxiliary buffer");
  }
  return std::nullopt;
}

std::optional<Refusal> check_bias(const MatmulProblem& problem, const MatmulDesc& desc) {
  const Product& p = problem.product;
  const Sums sums = problem.epilogue.sums;
  if (desc.bias == nullptr) return invalid("no CUBLASLT_MATMUL_DESC_BIAS_POINTER");
  // doc, "cublasLtMatmul()", the table's bias type: D's type in all rows simulated here. header,
  // CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE and _BIAS_POINTER: the type of D (bias) or "Ctype" (gradients), which are the
  // same here.
  if (desc.bias_type != -1 && desc.bias_type != static_cast<std::int32_t>(p.d.type)) {
    return unsupported("type of the bias");
  }
  // header, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE: the default 0 means that the batch shares one bias (nvmath,
  // BiasHandler). Sums would overwrite one another, so gradients need a stride.
  const std::int64_t length = sums == Sums::of_b ? p.n : p.m;
  if (p.batch > 1 && sums != Sums::none && desc.bias_batch_stride < length) return invalid("batch stride of the sums");
  return std::nullopt;
}

// Settings::epilogues. `some` is a library that lacks algorithms for some epilogues, narrower than the documentation:
// - Of the epilogues with an auxiliary buffer it has those that the header lists at
//   CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: RELU_AUX, RELU_AUX_BIAS, DRELU_BGRAD, GELU_AUX_BIAS and DGELU_BGRAD. It
//   lacks GELU_AUX, DRELU and DGELU, although the header's comments on them refer to that buffer, and although doc,
//   "cublasLtMatmulDescAttributes_t", lists the last two with it.
// - It lacks bias gradients of bf16 operands with an f32 result. doc's table of types gives that row the bias type f32,
//   but no document states outright that the library sums operands of one type into another.
std::optional<Refusal> check_table(const MatmulProblem& problem) {
  if (problem.epilogue_number == CUBLASLT_EPILOGUE_DEFAULT || settings().epilogues == Epilogues::all) {
    return std::nullopt;
  }
  if (settings().epilogues == Epilogues::none) return unsupported("no epilogues: Settings::epilogues");
  switch (problem.epilogue_number) {
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_DRELU:
    case CUBLASLT_EPILOGUE_DGELU:
      return unsupported("an auxiliary buffer that the header does not list");
    default:
      break;
  }
  if (problem.epilogue.is_gradient() && problem.product.a.type != problem.product.d.type) {
    return unsupported("a bias's gradient whose type is not the operands'");
  }
  return std::nullopt;
}

std::optional<Refusal> check_epilogue(MatmulProblem& problem, const MatmulDesc& desc) {
  const Product& p = problem.product;
  if (!parse_epilogue(desc.epilogue, problem.epilogue)) return invalid("no epilogue");
  problem.epilogue_number = desc.epilogue;
  const Epilogue& epilogue = problem.epilogue;
  if (auto refusal = check_table(problem)) return refusal;
  if (epilogue.aux) {
    if (auto refusal = check_auxiliary(problem, desc)) return refusal;
  }
  if (epilogue.needs_bias_pointer()) {
    if (auto refusal = check_bias(problem, desc)) return refusal;
  }
  // nvmath, DReluAuxHandler and DGeluAuxHandler: "K=1 is not supported by cuBLAS". (BGRADA and BGRADB: only below
  // cuBLASLt 12.3.4.)
  const bool of_activation = epilogue.is_gradient() && epilogue.aux;
  if (of_activation && p.k == 1) return unsupported("k = 1 with the gradient of an activation");
  // The documentation does not say which orientations BGRADA and BGRADB support. nvmath's examples
  // (example12_epilog_bgrada.py: "it's required that 'a' is in column-major layout"; _bgradb.py: b in rows) require A
  // not transposed and B transposed. NVIDIA's Transformer Engine (cublaslt_gemm.cu) uses BGRADB with B transposed, for
  // the gradient of a weight.
  if (epilogue.sums == Sums::of_b && !p.transpose_b) return unsupported("BGRADB of B that is not transposed");
  if (epilogue.sums == Sums::of_a && p.transpose_a) return unsupported("BGRADA of A that is transposed");
  problem.buffers = {desc.bias, desc.bias_batch_stride, desc.aux, desc.aux_ld, desc.aux_batch_stride};
  return std::nullopt;
}

Matrix matrix_of(const MatrixLayout& layout) {
  return {nullptr,
          static_cast<cudaDataType>(layout.type),
          static_cast<std::int64_t>(layout.rows),
          static_cast<std::int64_t>(layout.columns),
          layout.ld,
          layout.stride};
}

// doc, "cublasLtMatmul()": "both matrices [C and D] must have the same data type, number of rows, number of columns,
// batch size, and memory order"; the leading dimensions may differ.
bool alike(const MatrixLayout& c, const MatrixLayout& d) {
  return c.type == d.type && c.rows == d.rows && c.columns == d.columns && c.batch == d.batch && c.order == d.order;
}

void mix(std::uint64_t& hash, std::uint64_t value) {  // modelled on FNV-1a, eight bytes at a time
  hash = (hash ^ value) * 0x100000001B3ULL;
  hash ^= hash >> 29;
}

}  // namespace

std::optional<Refusal> make_problem(cublasLtMatmulDesc_t desc_handle, cublasLtMatrixLayout_t a_handle,
                                    cublasLtMatrixLayout_t b_handle, cublasLtMatrixLayout_t c_handle,
                                    cublasLtMatrixLayout_t d_handle, MatmulProblem& problem) {
  const auto* desc = as<MatmulDesc>(desc_handle);
  const auto *a = as<MatrixLayout>(a_handle), *b = as<MatrixLayout>(b_handle), *d = as<MatrixLayout>(d_handle);
  const auto* c = as<MatrixLayout>(c_handle != nullptr ? c_handle : d_handle);
  if (desc == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr) return invalid("no descriptor");
  // header, CUBLASLT_MATMUL_DESC_TRANSC: "Currently only CUBLAS_OP_N is supported."
  if (desc->op_c != CUBLAS_OP_N) return unsupported("C is transposed");
  if (auto refusal = check_simulated(*desc)) return refusal;
  if (auto refusal = check_layout(*a, "A", false)) return refusal;
  if (auto refusal = check_layout(*b, "B", false)) return refusal;
  if (auto refusal = check_layout(*c, "C", true)) return refusal;
  if (auto refusal = check_layout(*d, "D", true)) return refusal;
  if (a->type != b->type || !supports_types(desc->compute, desc->scale_type, a->type, d->type)) {
    return unsupported("types");
  }
  if (!alike(*c, *d)) return invalid("C is not like D");
  if (a->batch != d->batch || b->batch != d->batch) return invalid("batch counts differ");

  Product& p = problem.product;
  p.transpose_a = desc->op_a == CUBLAS_OP_T;
  p.transpose_b = desc->op_b == CUBLAS_OP_T;
  p.a = matrix_of(*a);
  p.b = matrix_of(*b);
  p.c = matrix_of(*c);
  p.d = matrix_of(*d);
  p.m = p.d.rows;
  p.n = p.d.columns;
  p.k = p.transpose_a ? p.a.rows : p.a.columns;
  p.batch = d->batch;
  p.tf32 = desc->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  if ((p.transpose_a ? p.a.columns : p.a.rows) != p.m || (p.transpose_b ? p.b.rows : p.b.columns) != p.n ||
      (p.transpose_b ? p.b.columns : p.b.rows) != p.k) {
    return invalid("sizes");
  }
  return check_epilogue(problem, *desc);
}

std::string MatmulProblem::describe() const {
  const Product& p = product;
  std::string text = "cublasLtMatmul " + std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
  if (p.batch > 1) text += " batch " + std::to_string(p.batch);
  text += std::string(" ") + (p.tf32 ? "tf32" : name_of(p.a.type));
  if (p.d.type != p.a.type) text += std::string(">") + name_of(p.d.type);
  return text + " " + name_of_epilogue(epilogue_number);
}

std::uint64_t MatmulProblem::fingerprint() const {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  const Product& p = product;
  for (const Matrix* matrix : {&p.a, &p.b, &p.c, &p.d}) {
    for (const std::int64_t value :
         {static_cast<std::int64_t>(matrix->type), matrix->rows, matrix->columns, matrix->ld, matrix->stride}) {
      mix(hash, static_cast<std::uint64_t>(value));
    }
  }
  for (const std::int64_t value :
       {p.batch, std::int64_t{p.transpose_a}, std::int64_t{p.transpose_b}, std::int64_t{p.tf32},
        std::int64_t{epilogue_number}, buffers.aux_ld, buffers.aux_stride, buffers.bias_stride}) {
    mix(hash, static_cast<std::uint64_t>(value));
  }
  return hash;
}

}  // namespace simulated
