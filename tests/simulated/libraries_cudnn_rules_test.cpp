// Tests what the simulated cuDNN's backend API refuses, and with which status.
#include "libraries/api.h"
#include "libraries_cudnn_fixture.h"

namespace simulated {
namespace {

class CudnnRules : public Cudnn {
 protected:
  // The status of finalizing an operation after changing one of its tensors.
  cudnnStatus_t convolution(const ConvCase& c, const std::array<std::int64_t, 4>& y) {
    const auto operation = open_convolution(c, final(open_geometry(c)), tensor(kX, c.x, CUDNN_DATA_FLOAT),
                                            tensor(kW, c.w, CUDNN_DATA_FLOAT), tensor(kY, y, CUDNN_DATA_FLOAT));
    return cudnnBackendFinalize(operation);
  }
  cudnnStatus_t graph(const ConvCase& c) { return cudnnBackendFinalize(open_graph(c)); }
};

TEST_F(CudnnRules, DescriptorsAreClosedOnce) {
  const auto open = open_tensor(1, {1, 2, 3, 4}, CUDNN_DATA_FLOAT);
  std::int64_t value = 0, found = 0;
  EXPECT_EQ(cudnnBackendGetAttribute(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &found, &value),
            CUDNN_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cudnnBackendFinalize(open), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(cudnnBackendFinalize(open), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(set(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, std::vector<std::int64_t>{2}),
            CUDNN_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cudnnBackendGetAttribute(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &found, &value),
            CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(found, 1);
  EXPECT_EQ(cudnnBackendFinalize(nullptr), CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  EXPECT_EQ(cudnnBackendDestroyDescriptor(&value), CUDNN_STATUS_BAD_PARAM);
}

TEST_F(CudnnRules, FunctionsFromBeforeTheBackendApiAreRefused) {
  cudnnFilterDescriptor_t filter = nullptr;
  EXPECT_EQ(cudnnCreateFilterDescriptor(&filter), CUDNN_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(last_refusal(), "cudnnCreateFilterDescriptor: not simulated");
}

TEST_F(CudnnRules, AttributesHaveTypesAndCounts) {
  const auto open = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const std::vector<std::int64_t> two = {1, 2}, nine(9, 1);
  EXPECT_EQ(set(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT32, two), CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
  EXPECT_EQ(set(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, two), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(set(open, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, nine), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(set(open, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, two), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(cudnnBackendSetAttribute(open, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 2, nullptr),
            CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  EXPECT_EQ(cudnnBackendFinalize(open), CUDNN_STATUS_BAD_PARAM) << "nothing was set";
  const auto plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  EXPECT_EQ(set(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, std::vector<std::int64_t>{1}),
            CUDNN_STATUS_BAD_PARAM)
      << "a result";
  cudnnBackendDescriptor_t matmul = nullptr;
  EXPECT_EQ(cudnnBackendCreateDescriptor(CUDNN_BACKEND_MATMUL_DESCRIPTOR, &matmul), CUDNN_STATUS_NOT_SUPPORTED);
}

TEST_F(CudnnRules, PartsAreFinalized) {
  const auto graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  const auto open = open_tensor(1, {1, 2, 3, 4}, CUDNN_DATA_FLOAT);
  EXPECT_EQ(set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector{open}),
            CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
  EXPECT_EQ(set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector<void*>{nullptr}),
            CUDNN_STATUS_BAD_PARAM);
}

TEST_F(CudnnRules, Tensors) {
  const auto with = [&](cudnnBackendAttributeName_t attribute, const std::vector<std::int64_t>& values) {
    const auto open = open_tensor(1, {1, 2, 3, 4}, CUDNN_DATA_FLOAT);
    must(open, attribute, CUDNN_TYPE_INT64, values);
    return cudnnBackendFinalize(open);
  };
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_DIMENSIONS, {1, 2, 3}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_DIMENSIONS, {1, 0, 3, 4}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_STRIDES, {24, 0, 8, 2}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {4}), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {2}), CUDNN_STATUS_BAD_PARAM) << "less than an element";
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {0}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {12}), CUDNN_STATUS_NOT_SUPPORTED) << "not simulated";
  EXPECT_EQ(with(CUDNN_ATTR_TENSOR_VECTOR_COUNT, {4}), CUDNN_STATUS_NOT_SUPPORTED);
}

TEST_F(CudnnRules, Geometry) {
  const auto with = [&](cudnnBackendAttributeName_t attribute, const std::vector<std::int64_t>& values) {
    const auto open = open_geometry(ConvCase());
    must(open, attribute, CUDNN_TYPE_INT64, values);
    return cudnnBackendFinalize(open);
  };
  EXPECT_EQ(with(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {1, 0}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_CONVOLUTION_DILATIONS, {0, 1}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {-1, 1}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {1}), CUDNN_STATUS_BAD_PARAM);
}

TEST_F(CudnnRules, ShapesFitTogether) {
  ConvCase c;
  EXPECT_EQ(convolution(c, c.y()), CUDNN_STATUS_SUCCESS);
  auto y = c.y();
  ++y[2];
  EXPECT_EQ(convolution(c, y), CUDNN_STATUS_BAD_PARAM);
  y = c.y();
  ++y[1];
  EXPECT_EQ(convolution(c, y), CUDNN_STATUS_BAD_PARAM);
  c.w[1] = 3;
  EXPECT_EQ(convolution(c, c.y()), CUDNN_STATUS_BAD_PARAM) << "channels that groups do not divide";
  c.w[1] = 2;
  EXPECT_EQ(convolution(c, c.y()), CUDNN_STATUS_BAD_PARAM) << "three filters for two groups";
}

TEST_F(CudnnRules, Graphs) {
  ConvCase c;
  EXPECT_EQ(graph(c), CUDNN_STATUS_SUCCESS);
  c.operands = CUDNN_DATA_HALF;
  EXPECT_EQ(graph(c), CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE);
  const ConvCase good;
  const auto flipped = open_geometry(good);
  must(flipped, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, std::vector{CUDNN_CONVOLUTION});
  const auto x = tensor(kX, good.x, CUDNN_DATA_FLOAT), w = tensor(kW, good.w, CUDNN_DATA_FLOAT);
  const auto y = tensor(kY, good.y(), CUDNN_DATA_FLOAT);
  EXPECT_EQ(cudnnBackendFinalize(open_graph({final(open_convolution(good, final(flipped), x, w, y))})),
            CUDNN_STATUS_NOT_SUPPORTED);
  const auto straight = final(open_geometry(good));
  const auto scaled = open_convolution(good, straight, x, w, y);
  must(scaled, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, std::vector<float>{1});
  EXPECT_EQ(cudnnBackendFinalize(open_graph({final(scaled)})), CUDNN_STATUS_NOT_SUPPORTED) << "beta";
  const auto nchw = open_tensor(kX, good.x, CUDNN_DATA_FLOAT);
  must(nchw, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::vector<std::int64_t>{120, 30, 5, 1});
  EXPECT_EQ(cudnnBackendFinalize(open_graph({final(open_convolution(good, straight, final(nchw), w, y))})),
            CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
  const auto half_w = tensor(kW, good.w, CUDNN_DATA_BFLOAT16);
  EXPECT_EQ(cudnnBackendFinalize(open_graph({final(open_convolution(good, straight, x, half_w, y))})),
            CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE)
      << "operands of two types";
}

TEST_F(CudnnRules, Patterns) {
  const ConvCase c;
  const auto geometry = final(open_geometry(c));
  const auto x = tensor(kX, c.x, CUDNN_DATA_FLOAT), w = tensor(kW, c.w, CUDNN_DATA_FLOAT);
  const auto between = tensor(kBetween, c.y(), CUDNN_DATA_FLOAT, true), y = tensor(kY, c.y(), CUDNN_DATA_FLOAT);
  const auto convolution = final(open_convolution(c, geometry, x, w, between));
  const auto with = [&](const std::vector<cudnnBackendDescriptor_t>& operations) {
    return cudnnBackendFinalize(open_graph(operations));
  };
  const auto relu = pointwise(CUDNN_POINTWISE_RELU_FWD, between, nullptr, y);
  EXPECT_EQ(with({convolution, relu}), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(with({convolution}), CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN) << "a virtual result";
  EXPECT_EQ(with({relu}), CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN) << "no convolution";
  EXPECT_EQ(with({convolution, pointwise(CUDNN_POINTWISE_TANH_FWD, between, nullptr, y)}),
            CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN);
  const auto whole = tensor(kBias, c.y(), CUDNN_DATA_FLOAT);
  EXPECT_EQ(with({convolution, pointwise(CUDNN_POINTWISE_ADD, between, whole, y)}),
            CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN)
      << "more than a bias";
  const auto elsewhere = tensor(kBetween + 5, c.y(), CUDNN_DATA_FLOAT, true);
  EXPECT_EQ(with({convolution, pointwise(CUDNN_POINTWISE_RELU_FWD, elsewhere, nullptr, y)}),
            CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN)
      << "no chain";
}

TEST_F(CudnnRules, Engines) {
  const auto graph = final(open_graph(ConvCase()));
  const auto with = [&](std::int64_t index) {
    const auto engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    part(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    must(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, std::vector{index});
    return cudnnBackendFinalize(engine);
  };
  const auto many = values<std::int64_t>(graph, CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64).at(0);
  EXPECT_EQ(with(0), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(with(many), CUDNN_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(offers(graph, CUDNN_HEUR_MODE_FALLBACK).size(), 2U);
  std::int64_t found = -1;
  EXPECT_EQ(cudnnBackendGetAttribute(engine_of(offers(graph)[0]), CUDNN_ATTR_ENGINE_KNOB_INFO,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &found, nullptr),
            CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(found, 0);
}

TEST_F(CudnnRules, VariantPacks) {
  const auto with = [&](const std::vector<std::int64_t>& ids, const std::vector<void*>& pointers) {
    const auto pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    must(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids);
    must(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers);
    return cudnnBackendFinalize(pack);
  };
  EXPECT_EQ(with({1, 2}, {nullptr, nullptr}), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(with({1, 2}, {nullptr}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(with({1, 1}, {nullptr, nullptr}), CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES);
}

TEST_F(CudnnRules, ErrorsHaveWords) {
  const auto open = open_geometry(ConvCase());
  must(open, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{0, 1});
  EXPECT_NE(cudnnBackendFinalize(open), CUDNN_STATUS_SUCCESS);
  char words[64] = {};
  cudnnGetLastErrorString(words, sizeof words);
  EXPECT_NE(std::string(words).find("cudnnBackendFinalize: a stride, dilation"), std::string::npos) << words;
  EXPECT_STREQ(cudnnGetErrorString(CUDNN_STATUS_NOT_SUPPORTED_LAYOUT), "CUDNN_STATUS_NOT_SUPPORTED_LAYOUT");
  EXPECT_EQ(cudnnGetVersion(), static_cast<std::size_t>(CUDNN_VERSION));
}

}  // namespace
}  // namespace simulated
