// Tests the simulated cuDNN's convolutions in all passes against a reference implementation.
#include "libraries_convolution_fixture.h"

namespace simulated {
namespace {

std::vector<ConvCase> shapes() {
  ConvCase plain, padded, strided, dilated, grouped, depthwise, pointwise, one_channel;
  padded.pad = {2, 1};
  strided.x = {2, 4, 9, 8};
  strided.stride = {2, 3};
  strided.pad = {1, 0};
  dilated.x = {1, 4, 9, 11};
  dilated.dilation = {2, 3};
  dilated.pad = {1, 2};
  grouped.x = {2, 6, 7, 5};
  grouped.w = {4, 3, 3, 2};
  grouped.pad = {1, 1};
  grouped.stride = {2, 1};
  depthwise.x = {2, 5, 6, 6};
  depthwise.w = {10, 1, 3, 3};
  pointwise.w = {7, 4, 1, 1};
  one_channel.x = {3, 1, 8, 8};
  one_channel.w = {2, 1, 5, 5};
  return {plain, padded, strided, dilated, grouped, depthwise, pointwise, one_channel};
}

TEST_F(Convolutions, F32InAllPasses) {
  for (ConvCase c : shapes()) {
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kNative), 1e-4);
    }
  }
}

TEST_F(Convolutions, Tf32InAllPasses) {
  for (ConvCase c : shapes()) {
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kTensorCores, true), 1e-4);
    }
  }
  EXPECT_GT(error(shapes()[0], kTensorCores, false), 1e-5) << "operands are not rounded";
}

TEST_F(Convolutions, Bf16InAllPasses) {
  for (ConvCase c : shapes()) {
    c.operands = c.result = c.bias_type = CUDNN_DATA_BFLOAT16;
    for (const auto pass : {ConvPass::forward, ConvPass::data, ConvPass::filter}) {
      c.pass = pass;
      EXPECT_LT(error(c, kTensorCores), 0.06);
    }
  }
}

TEST_F(Convolutions, BiasAndRelu) {
  for (const bool bias : {false, true}) {
    for (const bool relu : {false, true}) {
      ConvCase c;
      c.pad = {1, 1};
      c.bias = bias;
      c.relu = relu;
      EXPECT_LT(error(c, kNative), 1e-4);
      c.operands = c.result = c.bias_type = CUDNN_DATA_BFLOAT16;
      EXPECT_LT(error(c, kTensorCores), 0.06);
    }
  }
}

}  // namespace
}  // namespace simulated
