// cuBLAS: handles and general matrix products. The rules come from the cuBLAS library's documentation; each one cites
// its section.
#include <cublas_v2.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "libraries/api.h"
#include "libraries/cublas_status.h"
#include "libraries/product.h"

struct cublasContext {
  bool alive = true;
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  // "cublasSetWorkspace()": set by the user; the library's own before that and after cublasSetStream().
  simulated::Workspace workspace;
  bool own_workspace = true;
  std::int64_t calls = 0;
};

namespace simulated {
namespace {

using Call = LibraryCall<cublasStatus_t>;

struct Arguments {
  cublasOperation_t op_a, op_b;
  std::int64_t m, n, k;
  const void* alpha;
  const void* a;
  cudaDataType type_a;
  std::int64_t lda, stride_a;
  const void* b;
  cudaDataType type_b;
  std::int64_t ldb, stride_b;
  const void* beta;
  void* c;
  cudaDataType type_c;
  std::int64_t ldc, stride_c, batch;
  cublasComputeType_t compute;
  cublasGemmAlgo_t algorithm;
};

// The mode without the flag that may be combined with it.
int mode_of(cublasMath_t math) { return math & ~CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION; }

bool is_operation(cublasOperation_t op) { return op == CUBLAS_OP_N || op == CUBLAS_OP_T || op == CUBLAS_OP_C; }

// "cublasGemmEx()", the table of supported compute types and data types: the simulated part. f16, integers and complex
// numbers are not simulated.
bool supports(const Arguments& g) {
  if (g.type_a != g.type_b) return false;
  switch (g.compute) {
    case CUBLAS_COMPUTE_64F:
    case CUBLAS_COMPUTE_64F_PEDANTIC:
      return g.type_a == CUDA_R_64F && g.type_c == CUDA_R_64F;
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
      if (g.type_a == CUDA_R_16BF) return g.type_c == CUDA_R_16BF || g.type_c == CUDA_R_32F;
      return g.type_a == CUDA_R_32F && g.type_c == CUDA_R_32F;
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return g.type_a == CUDA_R_32F && g.type_c == CUDA_R_32F;
    default:
      return false;
  }
}

// "cublasGemmEx()" and "cublasGemmStridedBatchedEx()", the statuses returned: null if the arguments are valid.
const char* invalid(const Arguments& g) {
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0) return "a size below 0";
  if (!is_operation(g.op_a) || !is_operation(g.op_b)) return "no operation";
  if (g.lda < std::max<std::int64_t>(1, g.op_a == CUBLAS_OP_N ? g.m : g.k)) return "lda";
  if (g.ldb < std::max<std::int64_t>(1, g.op_b == CUBLAS_OP_N ? g.k : g.n)) return "ldb";
  if (g.ldc < std::max<std::int64_t>(1, g.m)) return "ldc";
  if (g.alpha == nullptr || g.beta == nullptr) return "no alpha or beta";
  const bool empty = g.m == 0 || g.n == 0 || g.batch == 0;
  if (!empty && (g.c == nullptr || (g.k > 0 && (g.a == nullptr || g.b == nullptr)))) return "no matrix";
  return nullptr;
}

// "cublasGemmStridedBatchedEx()": overlapping matrices of C are undefined behaviour. So is a C that overlaps A or B,
// for which there is no status.
const char* overlapping(const Product& p) {
  if (p.batch > 1 && p.d.stride < p.d.ld * (p.n - 1) + p.m) return "matrices of C";
  const Extent c = extent_of(p.d, p.batch);
  return overlap(c, extent_of(p.a, p.batch)) || overlap(c, extent_of(p.b, p.batch)) ? "C and an operand" : nullptr;
}

template <class T>
double scalar(const void* at) {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

std::string describe(const char* function, const Product& p) {
  std::string text =
      std::string(function) + " " + std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k) + " ";
  if (p.batch > 1) text += "batch " + std::to_string(p.batch) + " ";
  text += p.tf32 ? "tf32" : name_of(p.a.type);
  if (p.d.type != p.a.type) text += std::string(">") + name_of(p.d.type);
  return text;
}

// How the library splits k, and where it stores the parts. "Results Reproducibility": results are bitwise reproducible
// only with a user's workspace; with the library's own they may differ from call to call, and here they do.
template <class T>
Workspace choose_split(cublasContext& handle, Product& p) {
  if (handle.own_workspace) {
    p.splits = std::clamp<std::int64_t>(1 + handle.calls++ % 3, 1, std::max<std::int64_t>(p.k, 1));
    return {};
  }
  p.splits = p.k >= kWorthSplitting ? 2 : 1;
  const std::uint64_t needed = partial_sum_bytes<T>(p);
  if (p.splits == 1 || needed > handle.workspace.bytes) {
    p.splits = 1;
    return {};
  }
  return {handle.workspace.data, needed};
}

template <class T>
cublasStatus_t queue(const char* function, cublasContext& handle, Product p) {
  const Workspace workspace = choose_split<T>(handle, p);
  const std::string name = describe(function, p);
  const Finish<T> finish = [p, name](std::int64_t z, std::vector<T>& sums) {
    return scale_and_add(p, z, sums, name) && store(p.d, z, sums, name + ": C");
  };
  return enqueue_product<T>(handle.stream, name, p, workspace, finish) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                                      : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t multiply(const char* function, cublasHandle_t handle, const Arguments& g) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (const char* why = invalid(g)) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, why);
  if (!supports(g)) return call.refuse(CUBLAS_STATUS_NOT_SUPPORTED, "types");
  if (g.algorithm != CUBLAS_GEMM_DEFAULT && g.algorithm != CUBLAS_GEMM_DEFAULT_TENSOR_OP) {
    return call.refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an algorithm of one's own choice is not simulated");
  }
  if (g.m == 0 || g.n == 0 || g.batch == 0) return CUBLAS_STATUS_SUCCESS;
  Product p;
  p.m = g.m;
  p.n = g.n;
  p.k = g.k;
  p.batch = g.batch;
  p.transpose_a = g.op_a != CUBLAS_OP_N;
  p.transpose_b = g.op_b != CUBLAS_OP_N;
  p.a = {const_cast<void*>(g.a), g.type_a, p.transpose_a ? g.k : g.m, p.transpose_a ? g.m : g.k, g.lda, g.stride_a};
  p.b = {const_cast<void*>(g.b), g.type_b, p.transpose_b ? g.n : g.k, p.transpose_b ? g.k : g.n, g.ldb, g.stride_b};
  p.c = p.d = {g.c, g.type_c, g.m, g.n, g.ldc, g.stride_c};
  const bool f64 = g.type_a == CUDA_R_64F;
  p.alpha = f64 ? scalar<double>(g.alpha) : scalar<float>(g.alpha);
  p.beta = f64 ? scalar<double>(g.beta) : scalar<float>(g.beta);
  // "cublasMath_t": CUBLAS_TF32_TENSOR_OP_MATH allows TF32 for f32 even if the compute type does not request it.
  p.tf32 = g.compute == CUBLAS_COMPUTE_32F_FAST_TF32 || (mode_of(handle->math) == CUBLAS_TF32_TENSOR_OP_MATH &&
                                                         g.compute == CUBLAS_COMPUTE_32F && g.type_a == CUDA_R_32F);
  // "cublasMath_t": unless the mode is pedantic or disallows it, partial sums may be added in the result's type.
  p.round_partial_sums = mode_of(handle->math) != CUBLAS_PEDANTIC_MATH &&
                         !(handle->math & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
  if (const char* what = overlapping(p)) {
    report_fault(cudaErrorIllegalAddress, describe(function, p) + ": overlap of " + what);
    return call.refuse(CUBLAS_STATUS_EXECUTION_FAILED, "overlap");
  }
  return f64 ? queue<double>(function, *handle, p) : queue<float>(function, *handle, p);
}

}  // namespace
}  // namespace simulated

using simulated::Call;

SIMULATED_API cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  const Call call("cublasCreate");
  if (call.failure()) return *call.failure();
  if (handle == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no place for a handle");
  if (!simulated::fault().empty()) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "the device has failed");
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

// The handle is not freed, so that later uses can be reported.
SIMULATED_API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  const Call call("cublasDestroy");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  handle->alive = false;
  return CUBLAS_STATUS_SUCCESS;
}

// "cublasSetStream()": resets to the library's own workspace, whatever was set.
SIMULATED_API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  const Call call("cublasSetStream");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  handle->stream = stream;
  handle->workspace = {};
  handle->own_workspace = true;
  return CUBLAS_STATUS_SUCCESS;
}

SIMULATED_API cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
  const Call call("cublasGetStream");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (stream == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no place for a stream");
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}

SIMULATED_API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  const Call call("cublasSetMathMode");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  const int kind = simulated::mode_of(mode);
  if (kind != CUBLAS_DEFAULT_MATH && kind != CUBLAS_PEDANTIC_MATH && kind != CUBLAS_TF32_TENSOR_OP_MATH) {
    return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "a mode that is not simulated");
  }
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

// "cublasSetWorkspace()": aligned to at least 256 bytes.
SIMULATED_API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t bytes) {
  const Call call("cublasSetWorkspace");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (simulated::alignment_of(workspace) < 256) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "alignment below 256");
  if (workspace == nullptr && bytes > 0) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "bytes of nothing");
  handle->workspace = {workspace, bytes};
  handle->own_workspace = false;
  return CUBLAS_STATUS_SUCCESS;
}

SIMULATED_API cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                             int64_t m, int64_t n, int64_t k, const void* alpha, const void* A,
                                             cudaDataType Atype, int64_t lda, const void* B, cudaDataType Btype,
                                             int64_t ldb, const void* beta, void* C, cudaDataType Ctype, int64_t ldc,
                                             cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
  return simulated::multiply("cublasGemmEx", handle,
                             {transa, transb, m, n,    k, alpha, A,   Atype, lda, 0,           B,
                              Btype,  ldb,    0, beta, C, Ctype, ldc, 0,     1,   computeType, algo});
}

SIMULATED_API cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void* alpha, const void* A, cudaDataType Atype,
                                          int lda, const void* B, cudaDataType Btype, int ldb, const void* beta,
                                          void* C, cudaDataType Ctype, int ldc, cublasComputeType_t computeType,
                                          cublasGemmAlgo_t algo) {
  return cublasGemmEx_64(handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc,
                         computeType, algo);
}

SIMULATED_API cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int64_t m, int64_t n, int64_t k,
    const void* alpha, const void* A, cudaDataType Atype, int64_t lda, long long int strideA, const void* B,
    cudaDataType Btype, int64_t ldb, long long int strideB, const void* beta, void* C, cudaDataType Ctype, int64_t ldc,
    long long int strideC, int64_t batchCount, cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
  return simulated::multiply("cublasGemmStridedBatchedEx", handle,
                             {transa, transb, m,       n,    k, alpha, A,   Atype,   lda,        strideA,     B,
                              Btype,  ldb,    strideB, beta, C, Ctype, ldc, strideC, batchCount, computeType, algo});
}

SIMULATED_API cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, const void* alpha,
    const void* A, cudaDataType Atype, int lda, long long int strideA, const void* B, cudaDataType Btype, int ldb,
    long long int strideB, const void* beta, void* C, cudaDataType Ctype, int ldc, long long int strideC,
    int batchCount, cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
  return cublasGemmStridedBatchedEx_64(handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb,
                                       strideB, beta, C, Ctype, ldc, strideC, batchCount, computeType, algo);
}

SIMULATED_API cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

SIMULATED_API cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
  return simulated::cublas_property(type, value);
}
SIMULATED_API const char* cublasGetStatusName(cublasStatus_t status) { return simulated::cublas_status_name(status); }
SIMULATED_API const char* cublasGetStatusString(cublasStatus_t status) { return simulated::cublas_status_text(status); }
