// Output shapes of the layers, without the batch axis, computed without allocating anything. The layers and the reader
// of JSON models both use them. They throw InvalidArgument without a layer's name: the caller adds it.
#pragma once

#include "descent/error.h"
#include "descent/layers.h"

namespace descent::nn {

// Thrown if a module doesn't override output_shape.
class NoOutputShape : public InvalidArgument {
 public:
  using InvalidArgument::InvalidArgument;
};

Shape linear_shape(const Shape& input, std::int64_t in_features, std::int64_t out_features);
Shape conv_shape(const Shape& input, std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                 const Conv2dOptions& args);
Shape conv_transpose_shape(const Shape& input, std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                           const ConvTranspose2dArgs& args);
Shape pool_shape(const Shape& input, const Pool2dOptions& options);
Shape global_pool_shape(const Shape& input);
Shape flatten_shape(const Shape& input);
Shape norm_shape(const Shape& input, std::int64_t features, int rank);  // rank 0: any; without the batch axis
Shape embedding_shape(const Shape& input, std::int64_t dim);

// These reject options that are invalid for every input, such as a stride of 0.
void check_linear(std::int64_t in_features, std::int64_t out_features);
void check_conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const Conv2dOptions& args);
void check_conv_transpose(std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                          const ConvTranspose2dArgs& args);
Pool2dOptions check_pool(Pair kernel, Pair stride, Pair padding, bool count_include_pad);
void check_norm(std::int64_t features, double eps, double momentum);
void check_dropout(double p);

// a * b * c * d; throws InvalidArgument above 2^62.
std::int64_t checked_product(std::int64_t a, std::int64_t b, std::int64_t c = 1, std::int64_t d = 1);

inline constexpr std::int64_t kMaxSize = (std::int64_t{1} << 31) - 1;  // the limit of every size of a layer

}  // namespace descent::nn
