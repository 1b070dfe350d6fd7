// Sources: "api" is the documentation of cuDNN's backend API (cudnn_graph library), by descriptor; "guide" is cuDNN's
// developer guide, "Graph API".
#include "libraries/cudnn_problem.h"

#include <algorithm>
#include <limits>

namespace simulated {
namespace {

CudnnRefusal bad(std::string why) { return {CUDNN_STATUS_BAD_PARAM, std::move(why)}; }
CudnnRefusal unsupported(cudnnStatus_t status, std::string why) { return {status, std::move(why)}; }

using Sizes = std::vector<std::int64_t>;

// api, CUDNN_BACKEND_TENSOR_DESCRIPTOR: as many strides as sizes, positive; the alignment is a power of two.
CudnnRefusal check_tensor(const Descriptor& d) {
  const auto sizes = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (sizes.size() != strides.size()) return bad("a tensor's sizes and strides differ in number");
  const auto positive = [](std::int64_t value) { return value > 0; };
  if (!std::all_of(sizes.begin(), sizes.end(), positive)) return bad("a tensor's size below 1");
  if (!std::all_of(strides.begin(), strides.end(), positive)) return bad("a tensor's stride below 1");
  const auto alignment = d.value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
  if (alignment <= 0 || (alignment & (alignment - 1)) != 0) return bad("a tensor's alignment is no power of two");
  if (d.value<std::int64_t>(CUDNN_ATTR_TENSOR_VECTOR_COUNT, 1) != 1 ||
      d.value<char>(CUDNN_ATTR_TENSOR_IS_BY_VALUE) != 0 ||
      d.value<std::int32_t>(CUDNN_ATTR_TENSOR_REORDERING_MODE) != CUDNN_TENSOR_REORDERING_NONE) {
    return unsupported(CUDNN_STATUS_NOT_SUPPORTED, "vectorized, reordered and host tensors are not simulated");
  }
  return {};
}

// api, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: lists of as many values as there are spatial dimensions; strides and
// dilations at least 1, paddings at least 0.
CudnnRefusal check_geometry(const Descriptor& d) {
  const auto dimensions = d.value<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
  for (const int attribute : {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                              CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS}) {
    const auto values = d.list<std::int64_t>(attribute);
    if (static_cast<std::int64_t>(values.size()) != dimensions) return bad("as many values as spatial dimensions");
    const bool padding =
        attribute == CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS || attribute == CUDNN_ATTR_CONVOLUTION_POST_PADDINGS;
    for (const std::int64_t value : values) {
      if (value < (padding ? 0 : 1)) return bad("a stride, dilation or padding that is too small");
    }
  }
  return {};
}

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

std::size_t rank(const Descriptor& d) { return d.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS).size(); }

struct ConvolutionAttributes {
  cudnnBackendDescriptorType_t descriptor;
  ConvolutionPass pass;
  int geometry, x, w, y, alpha, beta;
};
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

const ConvolutionAttributes* find_convolution(cudnnBackendDescriptorType_t type) {
  for (const ConvolutionAttributes& attributes : kConvolutions) {
    if (attributes.descriptor == type) return &attributes;
  }
  return nullptr;
}

bool is_kind(const std::shared_ptr<const Descriptor>& part, cudnnBackendDescriptorType_t type) {
  return part != nullptr && part->type == type;
}

// api, CUDNN_BACKEND_OPERATION_CONVOLUTION_*_DESCRIPTOR: for each spatial dimension
//   y = 1 + (x + pre + post - ((w - 1) dilation + 1)) / stride,
// the filter's channels divide the image's, and its number is a multiple of the number of groups.
CudnnRefusal check_shapes(const CudnnTensor& x, const CudnnTensor& w, const CudnnTensor& y,
                          const Descriptor& geometry) {
  const auto list = [&](int attribute) { return geometry.list<std::int64_t>(attribute); };
  const Sizes pre = list(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), post = list(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const Sizes stride = list(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES), dilation = list(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  if (x.sizes[0] != y.sizes[0] || w.sizes[0] != y.sizes[1] || x.sizes[1] % w.sizes[1] != 0 ||
      w.sizes[0] % (x.sizes[1] / w.sizes[1]) != 0) {
    return {CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "images or channels"};
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t room = x.sizes[i + 2] + pre[i] + post[i] - (w.sizes[i + 2] - 1) * dilation[i] - 1;
    if (room < 0 || y.sizes[i + 2] != 1 + room / stride[i]) {
      return {CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "height or width of the result"};
    }
  }
  return {};
}

CudnnRefusal check_convolution(const Descriptor& d, const ConvolutionAttributes& names) {
  const auto geometry = d.part(names.geometry), x = d.part(names.x), w = d.part(names.w), y = d.part(names.y);
  if (!is_kind(geometry, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)) return bad("no convolution descriptor");
  for (const auto& tensor : {x, w, y}) {
    if (!is_kind(tensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR)) return bad("no tensor descriptor");
    if (rank(*tensor) !=
        static_cast<std::size_t>(geometry->value<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS)) + 2) {
      return {CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "spatial dimensions"};
    }
  }
  if (rank(*x) != 4) return unsupported(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "two spatial dimensions are simulated");
  return check_shapes(tensor_of(*x), tensor_of(*w), tensor_of(*y), *geometry);
}

// api, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: x and y alike; b like them or 1.
CudnnRefusal check_pointwise(const Descriptor& d) {
  const auto mode = d.part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const auto x = d.part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC), y = d.part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  const auto b = d.part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  if (!is_kind(mode, CUDNN_BACKEND_POINTWISE_DESCRIPTOR)) return bad("no pointwise descriptor");
  if (!is_kind(x, CUDNN_BACKEND_TENSOR_DESCRIPTOR) || !is_kind(y, CUDNN_BACKEND_TENSOR_DESCRIPTOR)) {
    return bad("no tensor descriptor");
  }
  const CudnnTensor from = tensor_of(*x), to = tensor_of(*y);
  if (rank(*x) != rank(*y) || from.sizes != to.sizes) return {CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "x and y"};
  const bool adds = mode->value<std::int32_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_ADD;
  if (!adds) return {};
  if (!is_kind(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR)) return bad("nothing to add");
  const CudnnTensor other = tensor_of(*b);
  for (std::size_t i = 0; i < 4; ++i) {
    if (other.sizes[i] != 1 && other.sizes[i] != to.sizes[i]) {
      return {CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "what is added"};
    }
  }
  return {};
}

// NHWC without gaps: what the heuristics' engines for tensor cores take without copies (guide, "Tensor layouts"). NCHW
// is not simulated.
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
  // guide, "Convolution": the engines do cross-correlation; accumulation in f32.
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

// guide, "Supported graph patterns", ConvolutionFwd followed by pointwise operations: what is simulated is a bias over
// channels and then ReLU, each at most once, each taking the virtual result of the one before.
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
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (mode->value<double>(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP) != 0 ||
        mode->value<double>(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE) != 0 ||
        mode->value<double>(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, infinity) < std::numeric_limits<float>::max()) {
      return pattern("a ReLU with bounds is not simulated");
    }
  } else {
    return pattern("a pointwise operation that is not simulated");
  }
  problem.result = tensor_of(*d.part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
  return {};
}

// guide, "Mixed precision": f32 or bf16 operands. Results between operations are virtual; the last one is stored.
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

CudnnRefusal check_descriptor(const Descriptor& d) {
  if (const ConvolutionAttributes* names = find_convolution(d.type)) return check_convolution(d, *names);
  switch (d.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      return check_tensor(d);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
      return check_geometry(d);
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return check_pointwise(d);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: {
      ConvolutionProblem ignored;
      return read_problem(d, ignored);
    }
    default:
      return {};
  }
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
