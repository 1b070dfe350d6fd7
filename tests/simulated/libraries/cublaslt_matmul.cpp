// cuBLASLt: handles, heuristics and matrix products.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "libraries/api.h"
#include "libraries/cublas_status.h"
#include "libraries/cublaslt_rules.h"

struct cublasLtContext {
  bool alive = true;
};

namespace simulated {
namespace {

using Call = LibraryCall<cublasStatus_t>;

// The method of a product: the number of parts that k is split into, and how they are added (header,
// cublasLtReductionScheme_t).
enum class Method : std::uint32_t {
  whole,         // one part
  compute_type,  // two, in f32 in the workspace, added in a separate step
  in_place,      // two, added in the result in its type; the workspace holds counters
  output_type,   // two, in the result's type; here without the workspace that the library uses
};

// The content of cublasLtMatmulAlgo_t: a method for one problem, and what the preference promised for it.
struct Algorithm {
  static constexpr std::uint32_t kMagic = 0x414C474F;
  std::uint32_t magic = kMagic;
  Method method = Method::whole;
  std::uint64_t problem = 0;  // MatmulProblem::fingerprint
  std::uint64_t workspace = 0;
  std::uint32_t align_a = 1, align_b = 1, align_c = 1, align_d = 1, align_bias = 1, align_aux = 1;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

constexpr std::uint64_t kCounters = 256;  // bytes
constexpr std::uint32_t kVector = 16;     // bytes of the widest access; no algorithm needs more alignment

std::uint64_t workspace_of(Method method, Product product) {
  switch (method) {
    case Method::whole:
      return 0;
    case Method::in_place:
    case Method::output_type:
      return kCounters;
    case Method::compute_type:
      product.splits = 2;
      return (partial_sum_bytes<float>(product) + 255) / 256 * 256;
  }
  return 0;
}

// The methods that the preference allows, fastest first: a caller gets whatever it does not forbid.
std::vector<Method> allowed(const MatmulProblem& problem, const MatmulPreference& preference) {
  std::vector<Method> methods;
  const auto offer = [&](Method method, unsigned scheme) {
    const bool masked = scheme != CUBLASLT_REDUCTION_SCHEME_NONE && (preference.reduction_mask & scheme) == 0;
    const bool splits = method == Method::whole || problem.product.k >= kWorthSplitting;
    const bool fits = workspace_of(method, problem.product) <= preference.most_workspace;
    if (!masked && splits && fits) methods.push_back(method);
  };
  offer(Method::output_type, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
  offer(Method::in_place, CUBLASLT_REDUCTION_SCHEME_INPLACE);
  offer(Method::compute_type, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  offer(Method::whole, CUBLASLT_REDUCTION_SCHEME_NONE);
  return methods;
}

// header, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_*: the alignment that the caller promises. For _BIAS_POINTER and
// _EPILOGUE_AUX_POINTER the heuristics derive it from the pointer's value.
Algorithm make_algorithm(Method method, const MatmulProblem& problem, const MatmulPreference& preference) {
  Algorithm algorithm;
  algorithm.method = method;
  algorithm.problem = problem.fingerprint();
  algorithm.workspace = workspace_of(method, problem.product);
  algorithm.align_a = std::min(preference.align_a, kVector);
  algorithm.align_b = std::min(preference.align_b, kVector);
  algorithm.align_c = std::min(preference.align_c, kVector);
  algorithm.align_d = std::min(preference.align_d, kVector);
  if (problem.epilogue.needs_bias_pointer()) algorithm.align_bias = alignment_of(problem.buffers.bias, kVector);
  if (problem.epilogue.aux) algorithm.align_aux = alignment_of(problem.buffers.aux, kVector);
  return algorithm;
}

std::optional<Refusal> check_preference(const MatmulPreference& preference) {
  if (preference.search_mode != CUBLASLT_SEARCH_BEST_FIT) {
    return Refusal{CUBLAS_STATUS_NOT_SUPPORTED, "search mode: not simulated"};
  }
  for (const std::uint32_t align : {preference.align_a, preference.align_b, preference.align_c, preference.align_d}) {
    if (align == 0 || (align & (align - 1)) != 0) {
      return Refusal{CUBLAS_STATUS_INVALID_VALUE, "an alignment that is no power of two"};
    }
  }
  return std::nullopt;
}

const char* misaligned(const Algorithm& algorithm, const MatmulProblem& problem) {
  const Product& p = problem.product;
  if (alignment_of(p.a.data) < algorithm.align_a) return "A";
  if (alignment_of(p.b.data) < algorithm.align_b) return "B";
  if (p.beta != 0 && alignment_of(p.c.data) < algorithm.align_c) return "C";
  if (alignment_of(p.d.data) < algorithm.align_d) return "D";
  if (problem.epilogue.needs_bias_pointer() && alignment_of(problem.buffers.bias) < algorithm.align_bias) return "bias";
  if (problem.epilogue.aux && alignment_of(problem.buffers.aux) < algorithm.align_aux) return "auxiliary buffer";
  return nullptr;
}

// doc, "cublasLtMatmul()": in place (C == D and Cdesc == Ddesc) or out of place. Nothing forbids other overlaps.
const char* overlapping(const Product& p, const Workspace& workspace) {
  const Extent d = extent_of(p.d, p.batch), w = {static_cast<const char*>(workspace.data), workspace.bytes};
  const Extent a = extent_of(p.a, p.batch), b = extent_of(p.b, p.batch);
  if (overlap(d, a) || overlap(d, b)) return "D and an operand";
  if (overlap(w, a) || overlap(w, b) || overlap(w, d)) return "the workspace and a matrix";
  if (p.beta == 0) return nullptr;
  const Extent c = extent_of(p.c, p.batch);
  if (overlap(w, c)) return "the workspace and a matrix";
  const bool in_place = p.c.data == p.d.data && p.c.ld == p.d.ld && p.c.stride == p.d.stride;
  return overlap(c, d) && !in_place ? "C and D, other than in place" : nullptr;
}

// doc, "cublasLtMatmul()", the statuses, and the parameter `workspace`: at least as large as the algorithm requires,
// and aligned to 256 bytes.
std::optional<Refusal> check_algorithm(const Algorithm& algorithm, const MatmulProblem& problem, const void* workspace,
                                       std::size_t bytes) {
  if (algorithm.magic != Algorithm::kMagic) return Refusal{CUBLAS_STATUS_INVALID_VALUE, "no algorithm"};
  // header, cublasLtMatmulAlgoCheck: descriptors that "don't match algo descriptor".
  if (algorithm.problem != problem.fingerprint()) {
    return Refusal{CUBLAS_STATUS_INVALID_VALUE, "an algorithm for another problem"};
  }
  if (bytes < algorithm.workspace) return Refusal{CUBLAS_STATUS_INVALID_VALUE, "workspace: too small"};
  if (algorithm.workspace > 0 && workspace == nullptr) return Refusal{CUBLAS_STATUS_INVALID_VALUE, "workspace: null"};
  if (workspace != nullptr && alignment_of(workspace) < 256) {
    return Refusal{CUBLAS_STATUS_INVALID_VALUE, "workspace: alignment below 256"};
  }
  return std::nullopt;
}

cublasStatus_t launch(const Call& call, const Algorithm& algorithm, MatmulProblem& problem, void* workspace,
                      cudaStream_t stream) {
  Product& p = problem.product;
  const std::string name = problem.describe();
  // The documentation does not say what a GPU does in either case; a misaligned address faults there too.
  if (const char* what = misaligned(algorithm, problem)) {
    report_fault(cudaErrorMisalignedAddress, name + ": " + what + " is less aligned than the heuristics were promised");
    return call.refuse(CUBLAS_STATUS_EXECUTION_FAILED, "alignment");
  }
  if (const char* what = overlapping(p, {workspace, algorithm.workspace})) {
    report_fault(cudaErrorIllegalAddress, name + ": overlap of " + what);
    return call.refuse(CUBLAS_STATUS_EXECUTION_FAILED, "overlap");
  }
  p.splits = algorithm.method == Method::whole ? 1 : 2;
  p.round_partial_sums = algorithm.method == Method::in_place || algorithm.method == Method::output_type;
  const bool keeps_sums = algorithm.method == Method::compute_type;
  const Workspace counters = {workspace, keeps_sums ? 0 : algorithm.workspace};
  const Finish<float> finish = [problem, name, counters](std::int64_t z, std::vector<float>& sums) {
    return scribble(counters, name + ": workspace") && scale_and_add(problem.product, z, sums, name) &&
           apply_epilogue(problem.epilogue, problem.buffers, problem.product, z, sums, name) &&
           store(problem.product.d, z, sums, name + ": D");
  };
  const Workspace for_sums = {workspace, keeps_sums ? algorithm.workspace : 0};
  return enqueue_product<float>(stream, name, p, for_sums, finish) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                                  : CUBLAS_STATUS_EXECUTION_FAILED;
}

float scalar(const void* at) {
  float value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace
}  // namespace simulated

using simulated::Algorithm;
using simulated::Call;
using simulated::MatmulPreference;
using simulated::MatmulProblem;

SIMULATED_API cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  const Call call("cublasLtCreate");
  if (call.failure()) return *call.failure();
  if (handle == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no place for a handle");
  if (!simulated::fault().empty()) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "the device has failed");
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

// The handle is not freed, so that later uses can be reported.
SIMULATED_API cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  const Call call("cublasLtDestroy");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  handle->alive = false;
  return CUBLAS_STATUS_SUCCESS;
}

// header, cublasLtMatmulHeuristicResult_t: results are valid only if their state is CUBLAS_STATUS_SUCCESS. So if more
// than one is requested, the first is invalid here.
SIMULATED_API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                                            cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                            cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                            cublasLtMatmulPreference_t preference_handle, int most,
                                                            cublasLtMatmulHeuristicResult_t results[], int* count) {
  const Call call("cublasLtMatmulAlgoGetHeuristic");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  const auto* preference = simulated::as<MatmulPreference>(preference_handle);
  if (preference == nullptr || results == nullptr || count == nullptr) {
    return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "a null argument");
  }
  *count = 0;
  if (most <= 0) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no algorithm is asked for");
  if (auto refusal = simulated::check_preference(*preference)) return call.refuse(refusal->status, refusal->why);
  MatmulProblem problem;
  if (auto refusal = simulated::make_problem(desc, a, b, c, d, problem)) {
    return call.refuse(refusal->status, problem.describe() + ": " + refusal->why);
  }
  if (most > 1) {
    cublasLtMatmulHeuristicResult_t& unusable = results[(*count)++];
    std::memset(&unusable, 0xFF, sizeof unusable);
    unusable.state = CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (const simulated::Method method : simulated::allowed(problem, *preference)) {
    if (*count == most) break;
    const Algorithm algorithm = simulated::make_algorithm(method, problem, *preference);
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof algorithm);
    result.workspaceSize = algorithm.workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

// doc, "cublasLtMatmul()". A null `algo` uses the heuristics with default preferences: no workspace, and a promised
// alignment of 256 bytes.
SIMULATED_API cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                                            const void* A, cublasLtMatrixLayout_t a, const void* B,
                                            cublasLtMatrixLayout_t b, const void* beta, const void* C,
                                            cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                                            const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                                            cudaStream_t stream) {
  const Call call("cublasLtMatmul");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  MatmulProblem problem;
  if (auto refusal = simulated::make_problem(desc, a, b, c, d, problem)) {
    return call.refuse(refusal->status, problem.describe() + ": " + refusal->why);
  }
  if (alpha == nullptr || beta == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no alpha or beta");
  simulated::Product& p = problem.product;
  p.alpha = simulated::scalar(alpha);
  p.beta = simulated::scalar(beta);
  if (A == nullptr || B == nullptr || D == nullptr || (p.beta != 0 && C == nullptr)) {
    return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no matrix");
  }
  p.a.data = const_cast<void*>(A);
  p.b.data = const_cast<void*>(B);
  p.c.data = const_cast<void*>(C);
  p.d.data = D;
  Algorithm algorithm;
  if (algo != nullptr) {
    std::memcpy(static_cast<void*>(&algorithm), algo, sizeof algorithm);
  } else {
    algorithm = simulated::make_algorithm(simulated::Method::whole, problem, MatmulPreference());
  }
  if (auto refusal = simulated::check_algorithm(algorithm, problem, workspace, workspace_bytes)) {
    return call.refuse(refusal->status, problem.describe() + ": " + refusal->why);
  }
  return simulated::launch(call, algorithm, problem, workspace, stream);
}

// header, cublasLtMatmulAlgoConfigGetAttribute: the size of the value, or 0 to query it.
// cublasLtMatmulAlgoConfigAttributes_t: the attributes of the simulated algorithms, which have no tiles and no stages
// (0: undefined).
SIMULATED_API cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                                  cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                                  void* value, size_t bytes, size_t* written) {
  const Call call("cublasLtMatmulAlgoConfigGetAttribute");
  if (call.failure()) return *call.failure();
  if (algo == nullptr || (bytes == 0 ? written == nullptr : value == nullptr)) {
    return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "null");
  }
  Algorithm algorithm;
  std::memcpy(static_cast<void*>(&algorithm), algo, sizeof algorithm);
  if (algorithm.magic != Algorithm::kMagic) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no algorithm");
  std::uint32_t answer = 0;
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      answer = static_cast<std::uint32_t>(algorithm.method);
      break;
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
      break;
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      answer = algorithm.method == simulated::Method::whole ? 1 : 2;
      break;
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      if (algorithm.method == simulated::Method::compute_type) answer = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
      if (algorithm.method == simulated::Method::in_place) answer = CUBLASLT_REDUCTION_SCHEME_INPLACE;
      if (algorithm.method == simulated::Method::output_type) answer = CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
      break;
    default:
      return call.refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this attribute is not simulated");
  }
  if (bytes != 0 && bytes != sizeof answer) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "size of a value");
  if (bytes != 0) std::memcpy(value, &answer, sizeof answer);
  if (written != nullptr) *written = sizeof answer;
  return CUBLAS_STATUS_SUCCESS;
}

SIMULATED_API size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }
SIMULATED_API cublasStatus_t cublasLtGetProperty(libraryPropertyType type, int* value) {
  return simulated::cublas_property(type, value);
}
SIMULATED_API const char* cublasLtGetStatusName(cublasStatus_t status) { return simulated::cublas_status_name(status); }
SIMULATED_API const char* cublasLtGetStatusString(cublasStatus_t status) {
  return simulated::cublas_status_text(status);
}
