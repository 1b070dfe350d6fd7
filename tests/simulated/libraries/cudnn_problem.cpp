// Reads a convolution from a cuDNN operation graph. Source: cuDNN's developer guide ("guide"), "Graph API".
#include "libraries/cudnn_problem.h"

#include <algorithm>
#include <limits>

namespace simulated {
namespace {

CudnnRefusal unsupported(cudnnStatus_t status, std::string why) { return {status, std::move(why)}; }

constexpr ConvolutionAttributes kConvolutions[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, ConvolutionPass::forward,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, ConvolutionPass::data,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, ConvolutionPass::filter,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

// Dense NHWC, which tensor-core engines accept without copies (guide, "Tensor layouts"). No NCHW.
bool is_nhwc(const CudnnTensor& t) {
  const std::array<std::int64_t, 4> packed = {t.sizes[1] * t.sizes[2] * t.sizes[3], 1, t.sizes[1] * t.sizes[3],
                                              t.sizes[1]};
  for (std::size_t i = 0; i < 4; ++i) {
    if (t.sizes[i] != 1 && t.strides[i] != packed[i]) return false;
  }
  return true;
}

double scalar(const Descriptor& d, int attribute, double otherwise) {
  const auto at = d.attributes.find(attribute);
  if (at == d.attributes.end()) return otherwise;
  return at->second.type == CUDNN_TYPE_DOUBLE ? d.value<double>(attribute) : d.value<float>(attribute);
}

CudnnRefusal read_convolution(const Descriptor& d, const ConvolutionAttributes& names, ConvolutionProblem& problem) {
  const auto geometry = d.part(names.geometry);
  // guide, "Convolution": the engines compute cross-correlation; accumulation is in f32.
  if (geometry->value<std::int32_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED, "a convolution that flips the filter is not simulated");
  }
  if (geometry->value<std::int32_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "computation in another type than f32 is not simulated");
  }
  if (scalar(d, names.alpha, 1) != 1 || scalar(d, names.beta, 0) != 0) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED, "alpha and beta other than 1 and 0 are not simulated");
  }
  problem.pass = names.pass;
  problem.x = tensor_of(*d.part(names.x));
  problem.w = tensor_of(*d.part(names.w));
  problem.y = tensor_of(*d.part(names.y));
  const auto pad = geometry->list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const auto stride = geometry->list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const auto dilation = geometry->list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  for (std::size_t i = 0; i < 2; ++i) {
    problem.pad[i] = pad[i];
    problem.stride[i] = stride[i];
    problem.dilation[i] = dilation[i];
  }
  problem.result = problem.pass == ConvolutionPass::forward ? problem.y
                   : problem.pass == ConvolutionPass::data  ? problem.x
                                                            : problem.w;
  return {};
}

// guide, "Supported graph patterns", ConvolutionFwd followed by pointwise operations. Simulated: a bias over channels,
// then ReLU, each at most once and each with the previous operation's virtual result as input.
CudnnRefusal read_pointwise(const Descriptor& d, ConvolutionProblem& problem) {
  const auto mode = d.part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const CudnnTensor x = tensor_of(*d.part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  const auto pattern = [](const char* why) { return unsupported(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, why); };
  if (problem.pass != ConvolutionPass::forward) return pattern("pointwise operations follow a forward pass");
  if (x.uid != problem.result.uid || !x.is_virtual) return pattern("operations must form a chain");
  if (mode->value<std::int32_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) != CUDNN_DATA_FLOAT) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "pointwise operations in another type than f32");
  }
  const auto kind = mode->value<std::int32_t>(CUDNN_ATTR_POINTWISE_MODE);
  if (kind == CUDNN_POINTWISE_ADD && !problem.has_bias && !problem.relu) {
    problem.has_bias = true;
    problem.bias = tensor_of(*d.part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
    const std::array<std::int64_t, 4> channels = {1, problem.y.sizes[1], 1, 1};
    if (problem.bias.sizes != channels) return pattern("what is added is not a bias");
  } else if (kind == CUDNN_POINTWISE_RELU_FWD && !problem.relu) {
    problem.relu = true;
    constexpr double most = std::numeric_limits<float>::max();
    if (scalar(*mode, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, 0) != 0 ||
        scalar(*mode, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0) != 0 ||
        scalar(*mode, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, most) < most) {
      return pattern("a ReLU with bounds is not simulated");
    }
  } else {
    return pattern("a pointwise operation that is not simulated");
  }
  problem.result = tensor_of(*d.part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
  return {};
}

// guide, "Mixed precision": operands in f32 or bf16. Results between operations are virtual; the last one is stored.
CudnnRefusal check_tensors(const ConvolutionProblem& problem) {
  std::vector<const CudnnTensor*> all = problem.inputs();
  all.push_back(&problem.result);
  for (const CudnnTensor* tensor : all) {
    if (tensor->is_virtual) return unsupported(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "a virtual input or result");
    if (tensor->type != CUDNN_DATA_FLOAT && tensor->type != CUDNN_DATA_BFLOAT16) {
      return unsupported(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "types other than f32 and bf16 are not simulated");
    }
    if (!is_nhwc(*tensor)) return unsupported(CUDNN_STATUS_NOT_SUPPORTED_LAYOUT, "layouts other than NHWC");
    if (tensor->count() > std::numeric_limits<std::int32_t>::max()) {
      return unsupported(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "more than 2^31 - 1 elements");
    }
  }
  if (problem.inputs()[0]->type != problem.inputs()[1]->type) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "operands of two types");
  }
  return {};
}

}  // namespace

CudnnTensor tensor_of(const Descriptor& d) {
  CudnnTensor tensor;
  tensor.uid = d.value<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
  tensor.type = d.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  tensor.alignment = d.value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1);
  tensor.is_virtual = d.value<char>(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0;
  const auto sizes = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  for (std::size_t i = 0; i < 4 && i < sizes.size() && i < strides.size(); ++i) {
    tensor.sizes[i] = sizes[i];
    tensor.strides[i] = strides[i];
  }
  return tensor;
}

const ConvolutionAttributes* find_convolution(cudnnBackendDescriptorType_t type) {
  for (const ConvolutionAttributes& attributes : kConvolutions) {
    if (attributes.descriptor == type) return &attributes;
  }
  return nullptr;
}

std::vector<const CudnnTensor*> ConvolutionProblem::inputs() const {
  std::vector<const CudnnTensor*> all;
  if (pass != ConvolutionPass::data) all.push_back(&x);
  if (pass != ConvolutionPass::filter) all.push_back(&w);
  if (pass != ConvolutionPass::forward) all.push_back(&y);
  if (has_bias) all.push_back(&bias);
  return all;
}

std::uint64_t ConvolutionProblem::flops() const {
  return static_cast<std::uint64_t>(2 * y.count() * w.sizes[1] * w.sizes[2] * w.sizes[3]);
}

std::uint64_t ConvolutionProblem::bytes() const {
  std::uint64_t sum = result.bytes();
  for (const CudnnTensor* tensor : inputs()) sum += tensor->bytes();
  return sum;
}

std::string ConvolutionProblem::describe() const {
  const auto shape = [](const CudnnTensor& t) {
    return std::to_string(t.sizes[0]) + "x" + std::to_string(t.sizes[2]) + "x" + std::to_string(t.sizes[3]) + "x" +
           std::to_string(t.sizes[1]);
  };
  std::string text = pass == ConvolutionPass::forward ? "cudnn fprop "
                     : pass == ConvolutionPass::data  ? "cudnn dgrad "
                                                      : "cudnn wgrad ";
  text += shape(x) + " * " + shape(w) + (is_bf16() ? " bf16" : " f32");
  if (is_bf16() && result.type == CUDNN_DATA_FLOAT) text += ">f32";
  if (has_bias) text += " bias";
  if (relu) text += " relu";
  return text;
}

CudnnRefusal read_problem(const Descriptor& graph, ConvolutionProblem& problem) {
  const auto operations = graph.parts(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  bool first = true;
  for (const auto& operation : operations) {
    const ConvolutionAttributes* names = find_convolution(operation->type);
    CudnnRefusal refusal;
    if (first && names != nullptr) {
      refusal = read_convolution(*operation, *names, problem);
    } else if (!first && operation->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
      refusal = read_pointwise(*operation, problem);
    } else {
      refusal = unsupported(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "a graph begins with its only convolution");
    }
    if (refusal) return refusal;
    first = false;
  }
  return check_tensors(problem);
}

}  // namespace simulated
