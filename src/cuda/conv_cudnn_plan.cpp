// cuDNN's graph API through cudnn-frontend: from a ConvKey to an execution plan, chosen by cuDNN's heuristics under
// our rules. No engine may be nondeterministic, or spread the rounding errors or the NaN of one element over others
// (FFT, Winograd), or round inputs to half precision; the tensor cores are for bf16, and for those who asked for TF32.
#if DESCENT_HAS_CUDNN

#include "cuda/conv_cudnn_plan.h"

#include <cudnn_frontend.h>

#include <algorithm>
#include <string>
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

// cuDNN names the sizes of images and filters in the order N, C, H, W; where the elements lie is said by the strides.
std::vector<std::int64_t> sizes(const std::array<std::int64_t, 4>& s) { return {s[0], s[3], s[1], s[2]}; }
std::vector<std::int64_t> strides(const std::array<std::int64_t, 4>& s) {
  return {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]};
}
std::vector<std::int64_t> list(const std::array<std::int64_t, 2>& s) { return {s[0], s[1]}; }

fe::DataType_t type_of(const ConvKey& key, Name name) {
  const bool wide = name == kBias || (name == kW && key.w_f32);
  return key.bf16 && !wide ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
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

// The operations of the pass, and which of the tensors they compute.
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

std::vector<fe::NumericalNote_t> unwanted(const ConvKey& key) {
  std::vector<fe::NumericalNote_t> notes = {fe::NumericalNote_t::NONDETERMINISTIC,
                                            fe::NumericalNote_t::DOWN_CONVERT_INPUTS,
                                            fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION,
                                            fe::NumericalNote_t::FFT,
                                            fe::NumericalNote_t::WINOGRAD,
                                            fe::NumericalNote_t::WINOGRAD_TILE_4x4,
                                            fe::NumericalNote_t::WINOGRAD_TILE_6x6,
                                            fe::NumericalNote_t::WINOGRAD_TILE_13x13};
  if (key.precision == Precision::f32 && !key.bf16) notes.push_back(fe::NumericalNote_t::TENSOR_CORE);
  return notes;
}

// One line of at most 300 characters of what cuDNN says.
std::string first_line(const std::string& text) { return text.substr(0, std::min<std::size_t>(text.find('\n'), 300)); }

class FrontendPlan final : public ConvPlan {
 public:
  FrontendPlan(std::shared_ptr<Graph> graph, const ConvKey& key, std::size_t workspace_bytes)
      : graph_(std::move(graph)), bias_(key.bias), workspace_bytes_(workspace_bytes) {}

  std::size_t workspace_bytes() const override { return workspace_bytes_; }

  void run(cudnnHandle_t handle, const ConvOperands& operands, void* workspace) const override {
    std::unordered_map<std::int64_t, void*> pointers = {
        {kX, const_cast<void*>(operands.x)}, {kW, const_cast<void*>(operands.w)}, {kY, const_cast<void*>(operands.y)}};
    if (bias_) pointers.emplace(kBias, const_cast<void*>(operands.bias));
    fe::error_t status = graph_->execute(handle, pointers, workspace);
    if (status.is_good()) return;
    throw DeviceError("cudnn: execution of a convolution failed: " + first_line(status.get_message()) +
                      " at src/cuda/conv_cudnn_plan.cpp");
  }

 private:
  std::shared_ptr<Graph> graph_;
  bool bias_;
  std::size_t workspace_bytes_;
};

}  // namespace

std::unique_ptr<ConvPlan> make_conv_plan(cudnnHandle_t handle, const ConvKey& key) {
  const auto graph = std::make_shared<Graph>();
  graph->set_io_data_type(fe::DataType_t::FLOAT)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  try {
    add_operations(*graph, key);
    if (graph->validate().is_bad() || graph->build_operation_graph(handle).is_bad()) return nullptr;
    if (graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_bad()) return nullptr;
    graph->deselect_numeric_notes(unwanted(key)).deselect_workspace_greater_than(kMostWorkspace);
    if (graph->check_support(handle).is_bad() || graph->build_plans(handle).is_bad()) return nullptr;
    std::int64_t workspace_bytes = 0;
    if (graph->get_workspace_size(workspace_bytes).is_bad()) return nullptr;
    return std::make_unique<FrontendPlan>(graph, key, static_cast<std::size_t>(workspace_bytes));
  } catch (const fe::cudnnException&) {  // a descriptor that could not be made
    return nullptr;
  }
}

}  // namespace descent::gpu

#endif
