// cuDNN's backend API: creating descriptors, setting and getting attributes, finalizing. Each function returns the
// statuses that its documentation lists.
#include <algorithm>
#include <unordered_map>

#include "libraries/api.h"
#include "libraries/cudnn_engines.h"

namespace simulated {
namespace {

using Call = LibraryCall<cudnnStatus_t>;

std::unordered_map<void*, std::shared_ptr<Descriptor>>& all_descriptors() {
  static auto* const all = new std::unordered_map<void*, std::shared_ptr<Descriptor>>;
  return *all;
}

cudnnStatus_t refuse(const Call& call, const CudnnRefusal& refusal) { return call.refuse(refusal.status, refusal.why); }

// Descriptors that an attribute refers to must be finalized ("cudnnBackendSetAttribute()"); that state is used.
CudnnRefusal set_parts(Attribute& attribute, const void* handles) {
  for (std::int64_t i = 0; i < attribute.count; ++i) {
    const auto part = find_descriptor(static_cast<void* const*>(handles)[i]);
    if (part == nullptr) return {CUDNN_STATUS_BAD_PARAM, "no descriptor"};
    if (!part->finalized) return {CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that is not finalized"};
    attribute.parts.push_back(part);
  }
  return {};
}

std::shared_ptr<const Descriptor> graph_of(const Descriptor& engine) {
  return engine.part(CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
}

// Computes the result attributes of an engine, which are available once it is finalized.
CudnnRefusal complete_engine(Descriptor& descriptor) {
  const Engine* engine = find_engine(descriptor.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  ConvolutionProblem problem;
  if (engine == nullptr) return {CUDNN_STATUS_NOT_SUPPORTED, "no such engine"};
  if (auto refusal = read_problem(*graph_of(descriptor), problem)) return refusal;
  if (!supports(*engine, problem)) return {CUDNN_STATUS_NOT_SUPPORTED, "the engine does not do this"};
  descriptor.set(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, engine->numerical_notes);
  descriptor.set(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, engine->behavior_notes);
  descriptor.attributes[CUDNN_ATTR_ENGINE_KNOB_INFO] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, {}, {}};  // no knobs
  return {};
}

CudnnRefusal complete_config(Descriptor& descriptor) {
  const auto engine = descriptor.part(CUDNN_ATTR_ENGINECFG_ENGINE);
  if (engine->type != CUDNN_BACKEND_ENGINE_DESCRIPTOR) return {CUDNN_STATUS_BAD_PARAM, "no engine"};
  if (!descriptor.parts(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES).empty()) {
    return {CUDNN_STATUS_NOT_SUPPORTED, "the simulated engines have no knobs"};
  }
  ConvolutionProblem problem;
  if (auto refusal = read_problem(*graph_of(*engine), problem)) return refusal;
  const auto index = engine->value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  const std::vector<std::int64_t> workspace = {workspace_of(*find_engine(index), problem)}, shared = {48 * 1024};
  descriptor.attributes[CUDNN_ATTR_ENGINECFG_KNOB_CHOICES] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, {}, {}};
  descriptor.set(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, workspace);
  descriptor.set(CUDNN_ATTR_ENGINECFG_SHARED_MEMORY_USED, CUDNN_TYPE_INT64, shared);
  return {};
}

CudnnRefusal complete_plan(Descriptor& descriptor) {
  const auto config = descriptor.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (config->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) return {CUDNN_STATUS_BAD_PARAM, "no engine configuration"};
  const auto index = config->part(CUDNN_ATTR_ENGINECFG_ENGINE)->value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  if (!find_engine(index)->has_plans) {
    return {CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT, "no plan for this engine"};
  }
  descriptor.set(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                 config->list<std::int64_t>(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE));
  return {};
}

CudnnRefusal complete_heuristics(Descriptor& descriptor) {
  const auto graph = descriptor.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  ConvolutionProblem problem;
  if (graph->type != CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) return {CUDNN_STATUS_BAD_PARAM, "no operation graph"};
  if (auto refusal = read_problem(*graph, problem)) return refusal;
  const auto mode = descriptor.value<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE);
  Attribute results = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, {}, {}};
  for (const std::int64_t index : heuristics(mode, problem)) {
    const auto engine = std::make_shared<Descriptor>(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    engine->set_part(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    engine->set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, std::vector<std::int64_t>{index});
    const auto config = std::make_shared<Descriptor>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    config->set_part(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (auto refusal = complete_engine(*engine)) return refusal;
    if (auto refusal = complete_config(*config)) return refusal;
    engine->finalized = config->finalized = true;
    results.parts.push_back(config);
  }
  results.count = static_cast<std::int64_t>(results.parts.size());
  descriptor.attributes[CUDNN_ATTR_ENGINEHEUR_RESULTS] = std::move(results);
  return {};
}

CudnnRefusal complete_pack(const Descriptor& descriptor) {
  const auto pointers = descriptor.list<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  const auto ids = descriptor.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  if (pointers.size() != ids.size()) return {CUDNN_STATUS_BAD_PARAM, "as many pointers as identifiers"};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (std::find(ids.begin() + static_cast<std::ptrdiff_t>(i) + 1, ids.end(), ids[i]) != ids.end()) {
      return {CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "an identifier twice"};
    }
  }
  return {};
}

CudnnRefusal complete(Descriptor& descriptor) {
  if (auto refusal = check_complete(descriptor)) return refusal;
  if (auto refusal = check_descriptor(descriptor)) return refusal;
  switch (descriptor.type) {
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
      if (graph_of(descriptor)->type != CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        return {CUDNN_STATUS_BAD_PARAM, "no operation graph"};
      }
      return complete_engine(descriptor);
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      return complete_config(descriptor);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return complete_plan(descriptor);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return complete_heuristics(descriptor);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      return complete_pack(descriptor);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      descriptor.set(CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64,
                     std::vector<std::int64_t>{static_cast<std::int64_t>(engines().size())});
      return {};
    default:
      return {};
  }
}

// "cudnnBackendGetAttribute()": descriptors are copied into ones of the same kind that the caller created.
CudnnRefusal copy_parts(const Attribute& attribute, std::int64_t capacity, void* const* handles) {
  for (std::int64_t i = 0; i < std::min(capacity, attribute.count); ++i) {
    const auto to = find_descriptor(handles[i]);
    const Descriptor& from = *attribute.parts[static_cast<std::size_t>(i)];
    if (to == nullptr) return {CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor to copy into"};
    if (to->type != from.type) return {CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a descriptor of another kind"};
    *to = from;
  }
  return {};
}

}  // namespace

std::shared_ptr<Descriptor> find_descriptor(cudnnBackendDescriptor_t handle) {
  const auto at = all_descriptors().find(handle);
  return at == all_descriptors().end() ? nullptr : at->second;
}

}  // namespace simulated

using simulated::Attribute;
using simulated::Call;

SIMULATED_API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                                         cudnnBackendDescriptor_t* descriptor) {
  const Call call("cudnnBackendCreateDescriptor");
  if (call.failure()) return *call.failure();
  if (descriptor == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for a descriptor");
  if (!simulated::is_simulated(type)) {
    return call.refuse(CUDNN_STATUS_NOT_SUPPORTED, "descriptor " + std::to_string(type) + " is not simulated");
  }
  const auto made = std::make_shared<simulated::Descriptor>(type);
  simulated::all_descriptors()[made.get()] = made;
  *descriptor = made.get();
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  const Call call("cudnnBackendDestroyDescriptor");
  if (call.failure()) return *call.failure();
  if (simulated::all_descriptors().erase(descriptor) == 0) return call.refuse(CUDNN_STATUS_BAD_PARAM, "no descriptor");
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle,
                                                     cudnnBackendAttributeName_t attribute,
                                                     cudnnBackendAttributeType_t type, int64_t count,
                                                     const void* elements) {
  const Call call("cudnnBackendSetAttribute");
  if (call.failure()) return *call.failure();
  const auto descriptor = simulated::find_descriptor(handle);
  if (descriptor == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  if (descriptor->finalized) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "the descriptor is finalized");
  if (count > 0 && elements == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no elements");
  if (auto refusal = simulated::check_attribute(descriptor->type, attribute, type, count, true)) {
    return simulated::refuse(call, refusal);
  }
  Attribute value = {type, count, {}, {}};
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    if (auto refusal = simulated::set_parts(value, elements)) return simulated::refuse(call, refusal);
  } else if (count > 0) {
    const auto* bytes = static_cast<const char*>(elements);
    value.bytes.assign(bytes, bytes + static_cast<std::size_t>(count) * simulated::element_size(type));
  }
  descriptor->attributes[attribute] = std::move(value);
  return CUDNN_STATUS_SUCCESS;
}

SIMULATED_API cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle) {
  const Call call("cudnnBackendFinalize");
  if (call.failure()) return *call.failure();
  const auto descriptor = simulated::find_descriptor(handle);
  if (descriptor == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  if (descriptor->finalized) return call.refuse(CUDNN_STATUS_BAD_PARAM, "the descriptor is finalized");
  if (auto refusal = simulated::complete(*descriptor)) return simulated::refuse(call, refusal);
  descriptor->finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

// Copies at most `capacity` elements and sets `count` to their total number. Without `elements` it only counts.
SIMULATED_API cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle,
                                                     cudnnBackendAttributeName_t attribute,
                                                     cudnnBackendAttributeType_t type, int64_t capacity, int64_t* count,
                                                     void* elements) {
  const Call call("cudnnBackendGetAttribute");
  if (call.failure()) return *call.failure();
  const auto descriptor = simulated::find_descriptor(handle);
  if (descriptor == nullptr) return call.refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  if (!descriptor->finalized) return call.refuse(CUDNN_STATUS_NOT_INITIALIZED, "the descriptor is not finalized");
  if (capacity < 0) return call.refuse(CUDNN_STATUS_BAD_PARAM, "fewer than 0 elements");
  if (auto refusal = simulated::check_attribute(descriptor->type, attribute, type, capacity, false)) {
    return simulated::refuse(call, refusal);
  }
  const auto at = descriptor->attributes.find(attribute);
  if (at == descriptor->attributes.end()) return call.refuse(CUDNN_STATUS_BAD_PARAM, "the attribute was not set");
  const Attribute value = at->second;  // a copy: the target may be the descriptor itself
  if (value.type != type) return call.refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "the attribute's type");
  if (count != nullptr) *count = value.count;
  if (elements == nullptr || capacity == 0) return CUDNN_STATUS_SUCCESS;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto refusal = simulated::copy_parts(value, capacity, static_cast<void* const*>(elements));
    return refusal ? simulated::refuse(call, refusal) : CUDNN_STATUS_SUCCESS;
  }
  const auto copied = static_cast<std::size_t>(std::min(capacity, value.count)) * simulated::element_size(type);
  if (copied > 0) std::memcpy(elements, value.bytes.data(), copied);
  return CUDNN_STATUS_SUCCESS;
}
