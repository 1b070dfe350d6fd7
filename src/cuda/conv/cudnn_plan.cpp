// Turns a ConvKey into an execution plan of cuDNN's graph API (through cudnn-frontend), chosen by cuDNN's heuristics
// under our rules. Excluded are engines that are nondeterministic, that spread the rounding error or the NaN of one
// element over others (FFT, Winograd), that round inputs or partial sums to lower precision, that are compiled at run
// time, which takes seconds, and the one that guarantees NaN propagation (a plain loop, slower than our own kernels).
// Tensor cores are only for bf16 and, on request, TF32. Engines that first copy the operands to another layout must use
// tensor cores, and come after those with tensor cores that don't copy.
#if DESCENT_HAS_CUDNN

#include "cuda/conv/cudnn_plan.h"

#include <cudnn_frontend.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "descent/error.h"

namespace descent::gpu {
namespace {

namespace fe = cudnn_frontend;
using fe::graph::Graph;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

constexpr std::int64_t kMostWorkspace = std::int64_t{512} << 20;

enum Name : std::int64_t { kX = 1, kW, kY, kBias };

// cuDNN lists dimensions in the order N, C, H, W; the strides say that the data is channels-last.
std::vector<std::int64_t> sizes(const std::array<std::int64_t, 4>& s) { return {s[0], s[3], s[1], s[2]}; }
std::vector<std::int64_t> strides(const std::array<std::int64_t, 4>& s) {
  return {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]};
}
std::vector<std::int64_t> list(const std::array<std::int64_t, 2>& s) { return {s[0], s[1]}; }

fe::DataType_t type_of(const ConvKey& key, Name name) {
  return key.bf16 && !(name == kW && key.w_f32) ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
}

Tensor input(Graph& graph, const ConvKey& key, Name name, const std::array<std::int64_t, 4>& shape) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_uid(name)
                          .set_dim(sizes(shape))
                          .set_stride(strides(shape))
                          .set_data_type(type_of(key, name)));
}

template <class Attributes>
Attributes geometry(const ConvKey& key) {
  return Attributes().set_padding(list(key.pad)).set_stride(list(key.stride)).set_dilation(list(key.dilation));
}

fe::graph::Pointwise_attributes pointwise(fe::PointwiseMode_t mode) {
  return fe::graph::Pointwise_attributes().set_mode(mode);
}

// Adds the operations of the pass and marks the tensor that they compute as the output.
void add_operations(Graph& graph, const ConvKey& key) {
  Tensor result;
  Name name = kY;
  const std::array<std::int64_t, 4>* shape = &key.y;
  switch (key.pass) {
    case ConvPass::forward:
      result = graph.conv_fprop(input(graph, key, kX, key.x), input(graph, key, kW, key.w),
                                geometry<fe::graph::Conv_fprop_attributes>(key));
      if (key.bias) {
        result =
            graph.pointwise(result, input(graph, key, kBias, {1, 1, 1, key.y[3]}), pointwise(fe::PointwiseMode_t::ADD));
      }
      if (key.relu) result = graph.pointwise(result, pointwise(fe::PointwiseMode_t::RELU_FWD));
      break;
    case ConvPass::data:
      result = graph.conv_dgrad(input(graph, key, kY, key.y), input(graph, key, kW, key.w),
                                geometry<fe::graph::Conv_dgrad_attributes>(key));
      name = kX;
      shape = &key.x;
      break;
    case ConvPass::filter:
      result = graph.conv_wgrad(input(graph, key, kY, key.y), input(graph, key, kX, key.x),
                                geometry<fe::graph::Conv_wgrad_attributes>(key));
      name = kW;
      shape = &key.w;
      break;
  }
  result->set_output(true)
      .set_uid(name)
      .set_dim(sizes(*shape))
      .set_stride(strides(*shape))
      .set_data_type(type_of(key, name));
}

const std::vector<fe::NumericalNote_t> kUnwanted = {fe::NumericalNote_t::NONDETERMINISTIC,
                                                    fe::NumericalNote_t::DOWN_CONVERT_INPUTS,
                                                    fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION,
                                                    fe::NumericalNote_t::FFT,
                                                    fe::NumericalNote_t::WINOGRAD,
                                                    fe::NumericalNote_t::WINOGRAD_TILE_4x4,
                                                    fe::NumericalNote_t::WINOGRAD_TILE_6x6,
                                                    fe::NumericalNote_t::WINOGRAD_TILE_13x13,
                                                    fe::NumericalNote_t::STRICT_NAN_PROP};

// An engine that copies operands to another layout copies x among them, so its workspace is at least as large. Engines
// that don't copy need less, for counters and the partial results of a split sum.
std::int64_t bytes_of_x(const ConvKey& key) {
  const std::int64_t elements = key.x[0] * key.x[1] * key.x[2] * key.x[3];
  return elements * (key.bf16 ? 2 : 4);
}

// Limits on the engines, in order of preference; among those within a limit, cuDNN's heuristics choose. A numerical
// note says whether an engine uses tensor cores. These are worth a copy of the operands; in strict f32 nothing is.
struct Limits {
  bool tensor_cores;
  std::int64_t workspace_bytes;
};
std::vector<Limits> limits_for(const ConvKey& key) {
  const std::int64_t without_copies = std::min(bytes_of_x(key) - 1, kMostWorkspace);
  if (!key.bf16 && key.precision == Precision::f32) return {{false, without_copies}};
  return {{true, without_copies}, {true, kMostWorkspace}, {false, without_copies}};
}

// cudnn-frontend's graph, with access to its list of plans.
class ConvGraph final : public Graph {
 public:
  // Builds the first plan within the limits; false if there is none. Call it after create_execution_plans().
  bool build(const Limits& limits) {
    const fe::graph::Execution_plan_list all = plans;
    static_cast<void>(plans.filter_numeric_notes(kUnwanted, false));
    static_cast<void>(plans.filter_numeric_notes({fe::NumericalNote_t::TENSOR_CORE}, limits.tensor_cores));
    static_cast<void>(plans.filter_behavior_notes({fe::BehaviorNote_t::RUNTIME_COMPILATION}, false));
    plans.set_max_workspace_allowed(limits.workspace_bytes);
    if (plans.check_support().is_good() && build_plans().is_good()) return true;
    plans = all;
    return false;
  }

  ConvEngine engine() const {
    ConvEngine engine;
    static_cast<void>(get_plan_name(engine.name));
    const auto at = static_cast<std::size_t>(plans.candidate);
    const auto add = [&](std::string_view name) {
      engine.notes += (engine.notes.empty() ? "" : " ") + std::string(name);
    };
    for (const fe::NumericalNote_t note : plans.numeric_notes[at]) {
      engine.tensor_cores |= note == fe::NumericalNote_t::TENSOR_CORE;
      if (note != fe::NumericalNote_t::NOT_SET) add(name_of(note));
    }
    for (const fe::BehaviorNote_t note : plans.behavior_notes[at]) {
      if (note == fe::BehaviorNote_t::RUNTIME_COMPILATION) add("runtime-compilation");
    }
    return engine;
  }

 private:
  static std::string_view name_of(fe::NumericalNote_t note) {
    switch (note) {
      case fe::NumericalNote_t::TENSOR_CORE:
        return "tensor-core";
      case fe::NumericalNote_t::DOWN_CONVERT_INPUTS:
        return "down-convert-inputs";
      case fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION:
        return "reduced-precision-reduction";
      case fe::NumericalNote_t::FFT:
        return "fft";
      case fe::NumericalNote_t::NONDETERMINISTIC:
        return "nondeterministic";
      case fe::NumericalNote_t::STRICT_NAN_PROP:
        return "strict-nan-propagation";
      default:
        return "winograd";
    }
  }
};

// The first line of a cuDNN message, at most 300 characters.
std::string first_line(const std::string& text) { return text.substr(0, std::min<std::size_t>(text.find('\n'), 300)); }

class FrontendPlan final : public ConvPlan {
 public:
  FrontendPlan(std::shared_ptr<ConvGraph> graph, const ConvKey& key, std::int64_t workspace_bytes)
      : graph_(std::move(graph)),
        bias_(key.bias),
        workspace_bytes_(static_cast<std::size_t>(workspace_bytes)),
        engine_(graph_->engine()) {
    engine_.copies_operands = workspace_bytes >= bytes_of_x(key);
  }

  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  const ConvEngine& engine() const override { return engine_; }

  void run(cudnnHandle_t handle, const ConvOperands& operands, void* workspace) const override {
    std::unordered_map<std::int64_t, void*> pointers = {
        {kX, const_cast<void*>(operands.x)}, {kW, const_cast<void*>(operands.w)}, {kY, const_cast<void*>(operands.y)}};
    if (bias_) pointers.emplace(kBias, const_cast<void*>(operands.bias));
    fe::error_t status = graph_->execute(handle, pointers, workspace);
    if (status.is_good()) return;
    throw DeviceError("cudnn: execution of a convolution failed: " + first_line(status.get_message()) +
                      " at src/cuda/conv/cudnn_plan.cpp");
  }

 private:
  std::shared_ptr<ConvGraph> graph_;
  bool bias_;
  std::size_t workspace_bytes_;
  ConvEngine engine_;
};

// Sets the device that the graph is for; false if cuDNN cannot parse its description.
bool place(ConvGraph& graph, const ConvDevice& device) {
  if (device.properties.empty()) return true;
  const auto properties = std::make_shared<fe::DeviceProperties>();
  if (properties->deserialize({device.properties.begin(), device.properties.end()}).is_bad()) return false;
  graph.set_device_properties(properties).set_sm_version(device.architecture);
  return true;
}

}  // namespace

std::unique_ptr<ConvPlan> make_conv_plan(const ConvDevice& device, const ConvKey& key) {
  const auto graph = std::make_shared<ConvGraph>();
  graph->set_io_data_type(fe::DataType_t::FLOAT)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  try {
    if (!place(*graph, device)) return nullptr;
    add_operations(*graph, key);
    if (graph->validate().is_bad()) return nullptr;
    const bool described = device.handle == nullptr;
    if ((described ? graph->build_operation_graph() : graph->build_operation_graph(device.handle)).is_bad()) {
      return nullptr;
    }
    if (graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_bad()) return nullptr;
    for (const Limits& limits : limits_for(key)) {
      std::int64_t workspace_bytes = 0;
      if (!graph->build(limits) || graph->get_workspace_size(workspace_bytes).is_bad()) continue;
      return std::make_unique<FrontendPlan>(graph, key, workspace_bytes);
    }
  } catch (const fe::cudnnException&) {  // a descriptor could not be created
  }
  return nullptr;
}

}  // namespace descent::gpu

#endif
