// LtGemm: cuBLASLt's descriptors, the choice of the algorithm, and the call.
#include "cuda/gemm/cublaslt.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "cuda/runtime/check.h"

namespace descent::gpu {
namespace {

constexpr std::size_t kMostPlans = 4096;  // bounds the cache of a program whose shapes never repeat

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

using MatmulDesc = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using MatrixLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

MatmulDesc make_matmul(cublasComputeType_t compute) {
  cublasLtMatmulDesc_t desc = nullptr;
  check(cublasLtMatmulDescCreate(&desc, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  return MatmulDesc(desc);
}

template <class T>
void set(const MatmulDesc& desc, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(desc.get(), attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

template <class T>
void set(const MatrixLayout& layout, cublasLtMatrixLayoutAttribute_t attribute, T value) {
  check(cublasLtMatrixLayoutSetAttribute(layout.get(), attribute, &value, sizeof value),
        "cublasLtMatrixLayoutSetAttribute");
}

template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

// `batch` column-major matrices of rows x columns with leading dimension `ld`, stored consecutively.
MatrixLayout make_layout(DType type, std::int64_t rows, std::int64_t columns, std::int64_t ld, std::int64_t batch) {
  cublasLtMatrixLayout_t handle = nullptr;
  check(cublasLtMatrixLayoutCreate(&handle, cuda_type(type), static_cast<std::uint64_t>(rows),
                                   static_cast<std::uint64_t>(columns), ld),
        "cublasLtMatrixLayoutCreate");
  MatrixLayout layout(handle);
  if (batch > 1) {
    set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
    set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, rows * columns);
  }
  return layout;
}

MatrixLayout make_operand(DType type, cublasOperation_t op, std::int64_t rows, std::int64_t columns, std::int64_t ld,
                          std::int64_t batch) {
  return op == CUBLAS_OP_N ? make_layout(type, rows, columns, ld, batch) : make_layout(type, columns, rows, ld, batch);
}

// Split-K is allowed if the parts are added in a separate step, in f32 and in a fixed order; not if they are added to c
// in the order in which they finish.
Preference make_preference(std::uint32_t align_first, std::uint32_t align_second, std::uint32_t align_result) {
  cublasLtMatmulPreference_t handle = nullptr;
  check(cublasLtMatmulPreferenceCreate(&handle), "cublasLtMatmulPreferenceCreate");
  Preference preference(handle);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{Context::kLtWorkspace});
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_first);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_second);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_result);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_result);
  return preference;
}

constexpr std::uint32_t kVector = 16;  // bytes; no algorithm needs a larger alignment

std::uint32_t alignment(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & (~address + 1), kVector));
}

}  // namespace

cublasComputeType_t compute_type(Precision precision) {
  return precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

cudaDataType cuda_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

struct LtGemm::Plan {
  MatmulDesc desc;
  MatrixLayout first, second, result;
  cublasLtMatmulHeuristicResult_t chosen = {};
};

LtGemm::LtGemm(Context& context) : context_(context) {}
LtGemm::~LtGemm() = default;

namespace {

void set_pointers(const MatmulDesc& desc, const void* bias, const void* aux) {
  if (bias != nullptr) set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  if (aux != nullptr) set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
}

// The statuses of the heuristics for a product that cuBLASLt does not support with this epilogue.
bool is_refusal(cublasStatus_t status, cublasLtEpilogue_t end) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ||
         (status == CUBLAS_STATUS_INVALID_VALUE && end != CUBLASLT_EPILOGUE_DEFAULT);
}

}  // namespace

std::shared_ptr<const LtGemm::Plan> LtGemm::prepare(const Key& key, const LtEpilogue& end) {
  GemmDesc g;
  g.transpose_a = key.transpose_a;
  g.transpose_b = key.transpose_b;
  g.m = key.m;
  g.n = key.n;
  g.k = key.k;
  const ColumnMajor in(g);
  auto plan = std::make_shared<Plan>();
  const bool narrow = key.types.operands == DType::bf16;
  plan->desc = make_matmul(narrow ? CUBLAS_COMPUTE_32F : compute_type(key.precision));
  set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, in.op_first);
  set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, in.op_second);
  set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, end.kind);
  if (end.aux != nullptr) set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, end.aux_stride);
  // The heuristics check the alignment of these addresses. They get the least that run() accepts, so that the choice
  // doesn't depend on which call came first.
  const void* const least = reinterpret_cast<const void*>(std::uintptr_t{kVector});
  set_pointers(plan->desc, end.bias != nullptr ? least : nullptr, end.aux != nullptr ? least : nullptr);
  plan->first = make_operand(key.types.operands, in.op_first, in.rows, key.k, in.ld_first, key.batch);
  plan->second = make_operand(key.types.operands, in.op_second, key.k, in.columns, in.ld_second, key.batch);
  plan->result = make_layout(key.types.result, in.rows, in.columns, in.ld_result, key.batch);
  const Preference preference = make_preference(key.align_b, key.align_a, key.align_c);

  std::array<cublasLtMatmulHeuristicResult_t, 4> found = {};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      context_.blas_lt(), plan->desc.get(), plan->first.get(), plan->second.get(), plan->result.get(),
      plan->result.get(), preference.get(), static_cast<int>(found.size()), found.data(), &count);
  if (is_refusal(status, end.kind)) return nullptr;
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  const auto usable = std::find_if(found.begin(), found.begin() + count,
                                   [](const auto& result) { return result.state == CUBLAS_STATUS_SUCCESS; });
  if (usable == found.begin() + count) return nullptr;
  plan->chosen = *usable;
  return plan;
}

bool LtGemm::run(const GemmDesc& g, const GemmTypes& types, const void* a, const void* b, const LtEpilogue& end,
                 void* c) {
  // cuBLASLt doesn't document how these must be aligned, so addresses that don't allow vector accesses are refused.
  for (const void* address : {end.bias, end.aux}) {
    if (address != nullptr && alignment(address) < kVector) return false;
  }
  const Key key{g.m,      g.n,         g.k,   g.batch,      g.transpose_a, g.transpose_b,
                end.kind, precision(), types, alignment(a), alignment(b),  alignment(c)};
  // Held until the product is queued: the descriptor contains this call's addresses, and its kernels may
  // share the workspace.
  const std::lock_guard lock(mutex_);
  auto at = plans_.find(key);
  if (at == plans_.end()) {
    if (plans_.size() >= kMostPlans && !context_.capturing) plans_.clear();
    at = plans_.emplace(key, prepare(key, end)).first;
  }
  if (at->second == nullptr) return false;
  const Plan& plan = *at->second;
  set_pointers(plan.desc, end.bias, end.aux);
  const auto alpha = static_cast<float>(g.alpha), beta = static_cast<float>(g.beta);
  check(cublasLtMatmul(context_.blas_lt(), plan.desc.get(), &alpha, b, plan.first.get(), a, plan.second.get(), &beta, c,
                       plan.result.get(), c, plan.result.get(), &plan.chosen.algo, context_.lt_workspace(),
                       plan.chosen.workspaceSize, context_.stream().handle),
        "cublasLtMatmul");
  context_.keep_for_capture(at->second);
  return true;
}

}  // namespace descent::gpu
