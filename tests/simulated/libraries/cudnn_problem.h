// A convolution as described by a graph of cuDNN operations.
#pragma once

#include <array>
#include <vector>

#include "libraries/cudnn_descriptors.h"

namespace simulated {

struct CudnnTensor {  // four dimensions in the order N, C, H, W; channels are innermost in memory
  std::int64_t uid = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::int64_t alignment = 1;
  bool is_virtual = false;
  std::array<std::int64_t, 4> sizes = {}, strides = {};

  std::int64_t count() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(count()) * (type == CUDNN_DATA_FLOAT ? 4 : 2); }
};

enum class ConvolutionPass : std::uint8_t { forward, data, filter };

struct ConvolutionProblem {
  ConvolutionPass pass = ConvolutionPass::forward;
  CudnnTensor x, w, y;  // or their gradients; w is [out, in / groups, height, width]
  std::array<std::int64_t, 2> pad = {}, stride = {}, dilation = {};  // height, width; pad before the first element
  bool has_bias = false, relu = false;
  CudnnTensor bias;    // [1, out, 1, 1], added after a forward pass
  CudnnTensor result;  // the graph's stored output: y after bias and ReLU, or dx, or dw

  std::int64_t groups() const { return x.sizes[1] / w.sizes[1]; }
  bool is_bf16() const {
    return pass == ConvolutionPass::forward ? x.type == CUDNN_DATA_BFLOAT16 : y.type == CUDNN_DATA_BFLOAT16;
  }
  std::vector<const CudnnTensor*> inputs() const;
  std::uint64_t flops() const;
  std::uint64_t bytes() const;
  std::string describe() const;  // "cudnn dgrad 8x14x14x16 * 32x3x3x16 f32"
};

CudnnTensor tensor_of(const Descriptor& tensor);

// The attribute names of each of the three convolutions; null for another operation.
struct ConvolutionAttributes {
  cudnnBackendDescriptorType_t descriptor;
  ConvolutionPass pass;
  int geometry, x, w, y, alpha, beta;
};
const ConvolutionAttributes* find_convolution(cudnnBackendDescriptorType_t type);

// Documented rules for finalizing single descriptors (including the shapes that an operation combines).
CudnnRefusal check_descriptor(const Descriptor& descriptor);

// Reads the convolution that an operation graph describes; NOT_SUPPORTED_* for graphs that are not simulated.
CudnnRefusal read_problem(const Descriptor& graph, ConvolutionProblem& problem);

}  // namespace simulated
