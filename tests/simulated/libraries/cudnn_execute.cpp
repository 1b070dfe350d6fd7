// cuDNN handles, and the execution of a plan.
#include <cudnn.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>

#include "libraries/api.h"
#include "libraries/cudnn_convolution.h"
#include "libraries/cudnn_engines.h"
#include "libraries/element.h"
#include "libraries/steps.h"

namespace simulated {
namespace {

using Call = LibraryCall<cudnnStatus_t>;
using Pointers = std::unordered_map<std::int64_t, void*>;

struct Job {
  ConvolutionProblem problem;
  const Engine* engine = nullptr;
  Pointers pointers;
  Workspace workspace;
  std::string name;
  std::shared_ptr<const Descriptor> plan;           // set while the job is queued on a stream
  std::weak_ptr<const Descriptor> plan_of_a_graph;  // set in a graph, which does not keep its plans alive
  bool in_graph = false;
};

// Dense NHWC, so all elements are contiguous.
Matrix as_matrix(const CudnnTensor& tensor, void* data) {
  const cudaDataType type = tensor.type == CUDNN_DATA_FLOAT ? CUDA_R_32F : CUDA_R_16BF;
  return {data, type, tensor.count(), 1, tensor.count(), 0};
}

std::vector<float> load_tensor(const Job& job, const CudnnTensor& tensor, const char* what) {
  return load<float>(as_matrix(tensor, job.pointers.at(tensor.uid)), 0, false, job.name + ": " + what);
}

// The result before bias and ReLU, from operands rounded as the engine does. Empty after a fault.
std::vector<float> convolve(const Job& job) {
  const ConvolutionProblem& p = job.problem;
  const bool forward = p.pass == ConvolutionPass::forward, data = p.pass == ConvolutionPass::data;
  std::vector<float> first = data ? load_tensor(job, p.w, "w") : load_tensor(job, p.x, "x");
  if (first.empty()) return {};
  std::vector<float> second = forward ? load_tensor(job, p.w, "w") : load_tensor(job, p.y, "dy");
  if (second.empty()) return {};
  round_operand(*job.engine, first);
  round_operand(*job.engine, second);
  std::vector<float> result;
  (forward ? convolve_forward : data ? convolve_data : convolve_filter)(p, first, second, result);
  disturb_result(*job.engine, result);
  return result;
}

// Only engines with CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP guarantee that NaN passes through ReLU; here the others make
// it 0.
void finish(const Job& job, std::vector<float>& sums) {
  const ConvolutionProblem& p = job.problem;
  if (p.has_bias) {
    const std::vector<float> bias = load_tensor(job, p.bias, "bias");
    if (bias.empty()) return;
    for (std::size_t e = 0; e < sums.size(); ++e) sums[e] += bias[e % bias.size()];
  }
  if (p.relu) {
    const bool keeps_nan = job.engine->has(CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP);
    for (float& sum : sums) {
      if (keeps_nan ? sum <= 0 : !(sum > 0)) sum = 0;
    }
  }
  store(as_matrix(p.result, job.pointers.at(p.result.uid)), 0, sums, job.name + ": result");
}

// A kernel compiled at run time is unloaded with its plan: a graph that still uses it has no code to run.
bool has_code(const Job& job) {
  if (!job.in_graph || !job.engine->has(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)) return true;
  if (!job.plan_of_a_graph.expired()) return true;
  report_fault(cudaErrorIllegalAddress, job.name + ": the plan was destroyed before the graph that uses it");
  return false;
}

cudaError_t queue(cudaStream_t stream, const Job& job) {
  const auto count = [](Work& work, const ConvolutionProblem& p) {
    work.flops = p.flops();
    work.bytes = p.bytes();
  };
  if (job.workspace.bytes == 0) {
    return enqueue(stream, {WorkKind::library, job.name, [job, count](Work& work) {
                              count(work, job.problem);
                              if (!has_code(job)) return;
                              std::vector<float> sums = convolve(job);
                              if (!sums.empty()) finish(job, sums);
                            }});
  }
  const auto first = [job, count](Work& work) {
    count(work, job.problem);
    if (!has_code(job)) return false;
    const std::vector<float> sums = convolve(job);
    return !sums.empty() && write_workspace(job.workspace, sums, job.name + ": workspace");
  };
  const auto second = [job] {
    const auto elements = static_cast<std::size_t>(job.problem.result.count());
    std::vector<float> sums = read_workspace<float>(job.workspace, elements, job.name + ": workspace");
    if (!sums.empty()) finish(job, sums);
  };
  return enqueue_steps(stream, {job.name, first, second});
}

Extent extent_of(const Job& job, const CudnnTensor& tensor) {
  return {static_cast<const char*>(job.pointers.at(tensor.uid)), tensor.bytes()};
}

// "cudnnBackendExecute()" and CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: a pointer for each non-virtual tensor, aligned as
// its descriptor says, and a workspace of the plan's size. Every engine assumes that nothing overlaps. The
// documentation does not specify the workspace's alignment: 16 bytes are a rule of this simulation, for kernels with
// vector accesses.
CudnnRefusal check_pointers(const Job& job) {
  std::vector<const CudnnTensor*> tensors = job.problem.inputs();
  tensors.push_back(&job.problem.result);
  for (const CudnnTensor* tensor : tensors) {
    const auto at = job.pointers.find(tensor->uid);
    if (at == job.pointers.end() || at->second == nullptr) {
      return {CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no address for tensor " + std::to_string(tensor->uid)};
    }
    if (alignment_of(at->second) < static_cast<std::uint64_t>(std::min<std::int64_t>(tensor->alignment, 256))) {
      return {CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "alignment of tensor " + std::to_string(tensor->uid)};
    }
  }
  if (job.workspace.bytes > 0 && job.workspace.data == nullptr) {
    return {CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no workspace"};
  }
  if (job.workspace.bytes > 0 && alignment_of(job.workspace.data) < 16) {
    return {CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "alignment of the workspace"};
  }
  return {};
}

bool overlaps(const Job& job) {
  const Extent result = extent_of(job, job.problem.result);
  const Extent workspace = {static_cast<const char*>(job.workspace.data), job.workspace.bytes};
  if (overlap(result, workspace)) return true;
  const std::vector<const CudnnTensor*> inputs = job.problem.inputs();
  return std::any_of(inputs.begin(), inputs.end(), [&](const CudnnTensor* tensor) {
    return overlap(extent_of(job, *tensor), result) || overlap(extent_of(job, *tensor), workspace);
  });
}

CudnnRefusal make_job(const std::shared_ptr<Descriptor>& plan, const Descriptor& pack, cudaStream_t stream, Job& job) {
  const auto engine = plan->part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->part(CUDNN_ATTR_ENGINECFG_ENGINE);
  if (auto refusal = read_problem(*engine->part(CUDNN_ATTR_ENGINE_OPERATION_GRAPH), job.problem)) return refusal;
  job.engine = find_engine(engine->value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  const auto ids = pack.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.list<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  for (std::size_t i = 0; i < ids.size(); ++i) job.pointers[ids[i]] = pointers[i];
  job.workspace = {pack.value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE),
                   static_cast<std::uint64_t>(plan->value<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))};
  job.name = job.problem.describe() + " (" + job.engine->name + ")";
  job.in_graph = is_capturing(stream);
  if (job.in_graph) {
    job.plan_of_a_graph = plan;
  } else {
    job.plan = plan;
  }
  return check_pointers(job);
}

struct Words {
  cudnnStatus_t status;
  const char* name;
};
#define STATUS(name) \
  { name, #name }
constexpr Words kStatuses[] = {
    STATUS(CUDNN_STATUS_SUCCESS),
    STATUS(CUDNN_STATUS_NOT_INITIALIZED),
    STATUS(CUDNN_STATUS_BAD_PARAM),
    STATUS(CUDNN_STATUS_BAD_PARAM_NULL_POINTER),
    STATUS(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER),
    STATUS(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED),
    STATUS(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH),
    STATUS(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES),
    STATUS(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE),
    STATUS(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED_SHAPE),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED_LAYOUT),
    STATUS(CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT),
    STATUS(CUDNN_STATUS_INTERNAL_ERROR),
    STATUS(CUDNN_STATUS_EXECUTION_FAILED),
};
#undef STATUS

}  // namespace
}  // namespace simulated

using simulated::Call;

SIMULATED_API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_handle,
                                                cudnnBackendDescriptor_t pack_handle) {
  const Call call("cudnnBackendExecute");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "no handle");
  const auto plan = simulated::find_descriptor(plan_handle), pack = simulated::find_descriptor(pack_handle);
  if (plan == nullptr || pack == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  if (plan->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR || pack->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
    return call.refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "no plan, or no variant pack");
  }
  if (!plan->finalized || !pack->finalized) {
    return call.refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that is not finalized");
  }
  simulated::Job job;
  if (auto refusal = simulated::make_job(plan, *pack, handle->stream, job)) {
    return call.refuse(refusal.status, job.name + ": " + refusal.why);
  }
  if (simulated::overlaps(job)) {
    simulated::report_fault(cudaErrorIllegalAddress, job.name + ": the result or the workspace overlaps an operand");
    return call.refuse(CUDNN_STATUS_EXECUTION_FAILED, "overlap");
  }
  return simulated::queue(handle->stream, job) == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

// Settings::cudnn off: as if the library found no usable device.
SIMULATED_API cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  const Call call("cudnnCreate");
  if (call.failure()) return *call.failure();
  if (handle == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for a handle");
  if (!simulated::settings().cudnn) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "Settings::cudnn");
  if (!simulated::fault().empty()) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "the device has failed");
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}

// The handle is not freed, so that later uses can be reported.
SIMULATED_API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  const Call call("cudnnDestroy");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "no handle");
  handle->alive = false;
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  const Call call("cudnnSetStream");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive) return call.refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  const Call call("cudnnGetStream");
  if (call.failure()) return *call.failure();
  if (handle == nullptr || !handle->alive || stream == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
SIMULATED_API size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }

SIMULATED_API cudnnStatus_t cudnnGetProperty(libraryPropertyType type, int* value) {
  constexpr int kVersion[] = {CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL};
  if (value == nullptr || type < MAJOR_VERSION || type > PATCH_LEVEL) return CUDNN_STATUS_BAD_PARAM;
  *value = kVersion[type];
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API const char* cudnnGetErrorString(cudnnStatus_t status) {
  for (const simulated::Words& words : simulated::kStatuses) {
    if (words.status == status) return words.name;
  }
  return "CUDNN_STATUS of the simulated library";
}

SIMULATED_API void cudnnGetLastErrorString(char* message, size_t size) {
  if (message == nullptr || size == 0) return;
  const std::string_view text = std::string_view(simulated::last_refusal()).substr(0, size - 1);
  *std::copy(text.begin(), text.end(), message) = 0;
}
