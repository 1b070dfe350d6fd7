// The conditions that single descriptors of cuDNN's backend API must satisfy when they are finalized. Source: the
// documentation of the backend API (cudnn_graph library), by descriptor. Tensors, geometries and convolutions that
// violate them are CUDNN_STATUS_BAD_PARAM, as in cuDNN 9.19.
#include <algorithm>

#include "libraries/cudnn_problem.h"

namespace simulated {
namespace {

CudnnRefusal bad(std::string why) { return {CUDNN_STATUS_BAD_PARAM, std::move(why)}; }

using Sizes = std::vector<std::int64_t>;

// CUDNN_BACKEND_TENSOR_DESCRIPTOR: as many strides as dimensions, all positive (cuDNN 9.19 accepts 0 too); the
// alignment is a multiple of the element size.
CudnnRefusal check_tensor(const Descriptor& d) {
  const auto sizes = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = d.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (sizes.size() != strides.size()) return bad("a tensor's sizes and strides differ in number");
  const auto positive = [](std::int64_t value) { return value > 0; };
  if (!std::all_of(sizes.begin(), sizes.end(), positive)) return bad("a tensor's size below 1");
  if (!std::all_of(strides.begin(), strides.end(), positive)) return bad("a tensor's stride below 1");
  const auto alignment = d.value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
  const std::int64_t element = d.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_FLOAT ? 4 : 2;
  if (alignment <= 0 || alignment % element != 0) return bad("a tensor's alignment is no multiple of an element");
  if ((alignment & (alignment - 1)) != 0) {
    return CudnnRefusal{CUDNN_STATUS_NOT_SUPPORTED, "an alignment that is no power of two is not simulated"};
  }
  if (d.value<std::int64_t>(CUDNN_ATTR_TENSOR_VECTOR_COUNT, 1) != 1 ||
      d.value<char>(CUDNN_ATTR_TENSOR_IS_BY_VALUE) != 0 ||
      d.value<std::int32_t>(CUDNN_ATTR_TENSOR_REORDERING_MODE) != CUDNN_TENSOR_REORDERING_NONE) {
    return CudnnRefusal{CUDNN_STATUS_NOT_SUPPORTED, "vectorized, reordered and host tensors are not simulated"};
  }
  return {};
}

// CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: each list has one value per spatial dimension; strides and dilations are at
// least 1, paddings at least 0.
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

std::size_t rank(const Descriptor& d) { return d.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS).size(); }

bool is_kind(const std::shared_ptr<const Descriptor>& part, cudnnBackendDescriptorType_t type) {
  return part != nullptr && part->type == type;
}

// CUDNN_BACKEND_OPERATION_CONVOLUTION_*_DESCRIPTOR: for each spatial dimension
//   y = 1 + (x + pre + post - ((w - 1) dilation + 1)) / stride,
// the filter's channels divide the image's, and the number of filters is a multiple of the number of groups.
CudnnRefusal check_shapes(const CudnnTensor& x, const CudnnTensor& w, const CudnnTensor& y,
                          const Descriptor& geometry) {
  const auto list = [&](int attribute) { return geometry.list<std::int64_t>(attribute); };
  const Sizes pre = list(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), post = list(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const Sizes stride = list(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES), dilation = list(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  if (x.sizes[0] != y.sizes[0] || w.sizes[0] != y.sizes[1] || x.sizes[1] % w.sizes[1] != 0 ||
      w.sizes[0] % (x.sizes[1] / w.sizes[1]) != 0) {
    return bad("images or channels");
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t capacity = x.sizes[i + 2] + pre[i] + post[i] - (w.sizes[i + 2] - 1) * dilation[i] - 1;
    if (capacity < 0 || y.sizes[i + 2] != 1 + capacity / stride[i]) {
      return bad("height or width of the result");
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
      return bad("spatial dimensions");
    }
  }
  if (rank(*x) != 4) return CudnnRefusal{CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "two spatial dimensions are simulated"};
  return check_shapes(tensor_of(*x), tensor_of(*w), tensor_of(*y), *geometry);
}

// CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: x and y have equal sizes; those of b are equal to them or 1. (cuDNN
// 9.19 does not compare these sizes when it finalizes the operation.)
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

}  // namespace

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

}  // namespace simulated
