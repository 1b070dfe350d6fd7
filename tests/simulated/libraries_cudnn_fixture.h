// Convolutions through the simulated cuDNN's backend API, built the way cudnn-frontend builds them.
#pragma once

#include <cudnn.h>

#include <array>

#include "libraries_fixture.h"

namespace simulated {

enum class ConvPass { forward, data, filter };

struct ConvCase {  // x [N, C, H, W], w [K, C / groups, R, S], all in NHWC
  ConvPass pass = ConvPass::forward;
  std::array<std::int64_t, 4> x = {2, 4, 6, 5}, w = {3, 4, 3, 3};
  std::array<std::int64_t, 2> pad = {0, 0}, stride = {1, 1}, dilation = {1, 1};
  bool bias = false, relu = false;
  cudnnDataType_t operands = CUDNN_DATA_FLOAT, result = CUDNN_DATA_FLOAT, bias_type = CUDNN_DATA_FLOAT;

  std::array<std::int64_t, 4> y() const {
    const auto out = [&](std::size_t i) {
      return 1 + (x[i + 2] + 2 * pad[i] - (w[i + 2] - 1) * dilation[i] - 1) / stride[i];
    };
    return {x[0], w[0], out(0), out(1)};
  }
  std::int64_t groups() const { return x[1] / w[1]; }
  std::array<std::int64_t, 4> result_sizes() const {
    return pass == ConvPass::forward ? y() : pass == ConvPass::data ? x : w;
  }
};

inline std::int64_t count(const std::array<std::int64_t, 4>& s) { return s[0] * s[1] * s[2] * s[3]; }

// The index of element (n, c, h, w) in NHWC.
inline std::int64_t nhwc(const std::array<std::int64_t, 4>& s, std::int64_t n, std::int64_t c, std::int64_t h,
                         std::int64_t w) {
  return ((n * s[2] + h) * s[3] + w) * s[1] + c;
}

class Cudnn : public Libraries {
 protected:
  enum Uid : std::int64_t { kX = 1, kW, kY, kBias, kBetween = 100 };

  void SetUp() override {
    Libraries::SetUp();
    settings().capability = 86;
    stream_ = stream();
    ASSERT_EQ(cudnnCreate(&handle_), CUDNN_STATUS_SUCCESS);
    ASSERT_EQ(cudnnSetStream(handle_, stream_), CUDNN_STATUS_SUCCESS);
  }
  void TearDown() override {
    for (const cudnnBackendDescriptor_t descriptor : made_) cudnnBackendDestroyDescriptor(descriptor);
    cudnnDestroy(handle_);
    Libraries::TearDown();
  }

  cudnnBackendDescriptor_t make(cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = nullptr;
    EXPECT_EQ(cudnnBackendCreateDescriptor(type, &made), CUDNN_STATUS_SUCCESS);
    made_.push_back(made);
    return made;
  }
  template <class T>
  static cudnnStatus_t set(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t attribute,
                           cudnnBackendAttributeType_t type, const std::vector<T>& values) {
    return cudnnBackendSetAttribute(to, attribute, type, static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  static void must(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                   const std::vector<T>& values) {
    ASSERT_EQ(set(to, attribute, type, values), CUDNN_STATUS_SUCCESS) << attribute;
  }
  static void part(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t attribute, cudnnBackendDescriptor_t of) {
    must(to, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector<void*>{of});
  }
  static cudnnBackendDescriptor_t final(cudnnBackendDescriptor_t descriptor,
                                        cudnnStatus_t expected = CUDNN_STATUS_SUCCESS) {
    EXPECT_EQ(cudnnBackendFinalize(descriptor), expected);
    return descriptor;
  }

  static std::vector<std::int64_t> strides(const std::array<std::int64_t, 4>& s) {
    return {s[1] * s[2] * s[3], 1, s[1] * s[3], s[1]};
  }

  // Returns a descriptor that is not finalized.
  cudnnBackendDescriptor_t open_tensor(std::int64_t uid, const std::array<std::int64_t, 4>& sizes, cudnnDataType_t type,
                                       bool is_virtual = false) {
    const auto tensor = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    must(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, std::vector{uid});
    must(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{type});
    must(tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::vector<std::int64_t>{16});
    must(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector(sizes.begin(), sizes.end()));
    must(tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides(sizes));
    must(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, std::vector<char>{is_virtual});
    return tensor;
  }
  cudnnBackendDescriptor_t tensor(std::int64_t uid, const std::array<std::int64_t, 4>& sizes, cudnnDataType_t type,
                                  bool is_virtual = false) {
    return final(open_tensor(uid, sizes, type, is_virtual));
  }

  cudnnBackendDescriptor_t open_geometry(const ConvCase& c) {
    const auto geometry = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const auto list = [](const std::array<std::int64_t, 2>& values) {
      return std::vector(values.begin(), values.end());
    };
    must(geometry, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT});
    must(geometry, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, std::vector{CUDNN_CROSS_CORRELATION});
    must(geometry, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{2});
    must(geometry, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, list(c.dilation));
    must(geometry, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, list(c.stride));
    must(geometry, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, list(c.pad));
    must(geometry, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, list(c.pad));
    return geometry;
  }

  // The operation alone, not finalized; it reads two of the tensors and writes the third.
  cudnnBackendDescriptor_t open_convolution(const ConvCase& c, cudnnBackendDescriptor_t geometry,
                                            cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                                            cudnnBackendDescriptor_t y) {
    struct Names {
      cudnnBackendDescriptorType_t type;
      cudnnBackendAttributeName_t geometry, x, w, y;
    };
    static constexpr Names kNames[] = {
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY}};
    const Names& names = kNames[static_cast<int>(c.pass)];
    const auto operation = make(names.type);
    part(operation, names.geometry, geometry);
    part(operation, names.x, x);
    part(operation, names.w, w);
    part(operation, names.y, y);
    return operation;
  }

  cudnnBackendDescriptor_t pointwise(cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                     cudnnBackendDescriptor_t y) {
    const auto what = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    must(what, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, std::vector{mode});
    must(what, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT});
    const auto operation = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    part(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, final(what));
    part(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != nullptr) part(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    part(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    return final(operation);
  }

  cudnnBackendDescriptor_t open_graph(const std::vector<cudnnBackendDescriptor_t>& operations) {
    const auto graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    must(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, std::vector{handle_});
    must(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations);
    return graph;
  }

  cudnnBackendDescriptor_t open_graph(const ConvCase& c) {
    const bool data = c.pass == ConvPass::data, filter = c.pass == ConvPass::filter, more = c.bias || c.relu;
    const auto y_sizes = c.y();
    const auto x = tensor(kX, c.x, data ? c.result : c.operands), w = tensor(kW, c.w, filter ? c.result : c.operands);
    auto y = more ? tensor(kBetween, y_sizes, CUDNN_DATA_FLOAT, true)
                  : tensor(kY, y_sizes, data || filter ? c.operands : c.result);
    std::vector<cudnnBackendDescriptor_t> operations = {final(open_convolution(c, final(open_geometry(c)), x, w, y))};
    if (c.bias) {
      const auto b = tensor(kBias, {1, y_sizes[1], 1, 1}, c.bias_type);
      const auto to = c.relu ? tensor(kBetween + 1, y_sizes, CUDNN_DATA_FLOAT, true) : tensor(kY, y_sizes, c.result);
      operations.push_back(pointwise(CUDNN_POINTWISE_ADD, y, b, to));
      y = to;
    }
    if (c.relu) operations.push_back(pointwise(CUDNN_POINTWISE_RELU_FWD, y, nullptr, tensor(kY, y_sizes, c.result)));
    return open_graph(operations);
  }

  // The engine configurations that the heuristics offer.
  std::vector<cudnnBackendDescriptor_t> offers(cudnnBackendDescriptor_t graph,
                                               cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A) {
    const auto heuristics = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    part(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    must(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, std::vector{mode});
    final(heuristics);
    std::int64_t found = 0;
    EXPECT_EQ(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0,
                                       &found, nullptr),
              CUDNN_STATUS_SUCCESS);
    std::vector<cudnnBackendDescriptor_t> configs;
    for (std::int64_t i = 0; i < found; ++i) configs.push_back(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    EXPECT_EQ(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, found,
                                       &found, configs.data()),
              CUDNN_STATUS_SUCCESS);
    return configs;
  }

  cudnnBackendDescriptor_t engine_of(cudnnBackendDescriptor_t config) {
    cudnnBackendDescriptor_t engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    std::int64_t found = 0;
    EXPECT_EQ(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &found,
                                       &engine),
              CUDNN_STATUS_SUCCESS);
    return engine;
  }
  template <class T>
  std::vector<T> values(cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t attribute,
                        cudnnBackendAttributeType_t type) {
    std::vector<T> read(16);
    std::int64_t found = 0;
    EXPECT_EQ(cudnnBackendGetAttribute(from, attribute, type, 16, &found, read.data()), CUDNN_STATUS_SUCCESS);
    read.resize(static_cast<std::size_t>(found));
    return read;
  }
  std::vector<cudnnBackendNumericalNote_t> notes(cudnnBackendDescriptor_t config) {
    return values<cudnnBackendNumericalNote_t>(engine_of(config), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                               CUDNN_TYPE_NUMERICAL_NOTE);
  }
  std::vector<cudnnBackendBehaviorNote_t> behaviors(cudnnBackendDescriptor_t config) {
    return values<cudnnBackendBehaviorNote_t>(engine_of(config), CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                              CUDNN_TYPE_BEHAVIOR_NOTE);
  }
  std::int64_t workspace_of(cudnnBackendDescriptor_t config) {
    return values<std::int64_t>(config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64).at(0);
  }

  cudnnBackendDescriptor_t open_plan(cudnnBackendDescriptor_t config) {
    const auto plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    must(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, std::vector{handle_});
    part(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    return plan;
  }

  struct Pointers {
    void *x = nullptr, *w = nullptr, *y = nullptr, *bias = nullptr, *workspace = nullptr;
  };
  cudnnStatus_t execute(cudnnBackendDescriptor_t plan, const Pointers& p) {
    const auto pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    must(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{kX, kW, kY, kBias});
    must(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, std::vector<void*>{p.x, p.w, p.y, p.bias});
    must(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, std::vector<void*>{p.workspace});
    return cudnnBackendExecute(handle_, plan, final(pack));
  }

  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::vector<cudnnBackendDescriptor_t> made_;
};

}  // namespace simulated
