// Output shapes of the layers, and checks of options that are invalid for every input.
#include "nn/shapes.h"

#include <fmt/format.h>

#include "core/conv_shape.h"

namespace descent::nn {
namespace {

void check_size(const char* field, std::int64_t value, std::int64_t low) {
  if (value < low || value > kMaxSize) {
    throw InvalidArgument(fmt::format("{} is {}, expected {} to {}", field, value, low, kMaxSize));
  }
}

void check_pair(const char* field, Pair pair, std::int64_t low) {
  check_size(field, pair.h, low);
  check_size(field, pair.w, low);
}

void check_image(const Shape& input, const char* what) {
  if (input.rank() != 3) {
    throw InvalidArgument(fmt::format("input has shape {}, expected an image [H, W, C] to {}", to_string(input), what));
  }
}

void check_channels(const Shape& input, std::int64_t channels) {
  if (input[2] != channels) {
    throw InvalidArgument(fmt::format("input has {} channels, expects {}", input[2], channels));
  }
}

// How many windows fit into `size`; at least one must.
std::int64_t windows(std::int64_t size, const Window& window) {
  const std::int64_t count = window.outputs(size);
  if (count == 0) {
    throw InvalidArgument(fmt::format("a window of {} does not fit into an input of {} with padding {}",
                                      window.extent(), size, window.padding));
  }
  return count;
}

std::int64_t spread(std::int64_t size, const Window& window, std::int64_t output_padding) {
  const std::int64_t to = window.inputs(size, output_padding);
  if (to < 1 || to > kMaxSize) {
    throw InvalidArgument(fmt::format("an input of {} gives no output size from 1 to {}", size, kMaxSize));
  }
  return to;
}

}  // namespace

std::int64_t checked_product(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  std::int64_t product = a;
  for (const std::int64_t factor : {b, c, d}) {
    if (__builtin_mul_overflow(product, factor, &product) || product > (std::int64_t{1} << 62)) {
      throw InvalidArgument(fmt::format("a size of {} x {} x {} x {} overflows", a, b, c, d));
    }
  }
  return product;
}

Shape linear_shape(const Shape& input, std::int64_t in_features, std::int64_t out_features) {
  if (input.rank() < 1) throw InvalidArgument("input has no axis, expects features on the last one");
  if (input[-1] != in_features) {
    throw InvalidArgument(fmt::format("input has {} features, expects {}", input[-1], in_features));
  }
  return input.with(-1, out_features);
}

Shape conv_shape(const Shape& input, std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                 const Conv2dOptions& args) {
  check_image(input, "convolve");
  check_channels(input, in_channels);
  return {windows(input[0], {kernel.h, args.stride.h, args.padding.h, args.dilation.h}),
          windows(input[1], {kernel.w, args.stride.w, args.padding.w, args.dilation.w}), out_channels};
}

Shape conv_transpose_shape(const Shape& input, std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                           const ConvTranspose2dArgs& args) {
  check_image(input, "convolve");
  check_channels(input, in_channels);
  return {spread(input[0], {kernel.h, args.stride.h, args.padding.h, args.dilation.h}, args.output_padding.h),
          spread(input[1], {kernel.w, args.stride.w, args.padding.w, args.dilation.w}, args.output_padding.w),
          out_channels};
}

Shape pool_shape(const Shape& input, const Pool2dOptions& options) {
  check_image(input, "pool");
  return {windows(input[0], window_h(options)), windows(input[1], window_w(options)), input[2]};
}

Shape global_pool_shape(const Shape& input) {
  check_image(input, "average");
  return {input[2]};
}

Shape flatten_shape(const Shape& input) { return {input.numel()}; }

Shape norm_shape(const Shape& input, std::int64_t features, int rank) {
  if (input.rank() < 1 || (rank != 0 && input.rank() != rank)) {
    throw InvalidArgument(fmt::format("input has shape {}, expects {}", to_string(input),
                                      rank == 3   ? "an image [H, W, C]"
                                      : rank == 1 ? "features [C]"
                                                  : "features on the last axis"));
  }
  if (input[-1] != features) {
    throw InvalidArgument(fmt::format("input has {} features, expects {}", input[-1], features));
  }
  return input;
}

Shape embedding_shape(const Shape& input, std::int64_t dim) {
  std::vector<std::int64_t> dims(input.begin(), input.end());
  dims.push_back(dim);
  return Shape(dims);
}

void check_linear(std::int64_t in_features, std::int64_t out_features) {
  check_size("in_features", in_features, 1);
  check_size("out_features", out_features, 1);
}

void check_conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const Conv2dOptions& args) {
  check_size("in_channels", in_channels, 1);
  check_size("out_channels", out_channels, 1);
  check_pair("kernel_size", kernel, 1);
  check_pair("stride", args.stride, 1);
  check_pair("padding", args.padding, 0);
  check_pair("dilation", args.dilation, 1);
  check_size("groups", args.groups, 1);
  if (in_channels % args.groups != 0 || out_channels % args.groups != 0) {
    throw InvalidArgument(fmt::format("groups is {}, expected a divisor of in_channels {} and out_channels {}",
                                      args.groups, in_channels, out_channels));
  }
}

void check_conv_transpose(std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                          const ConvTranspose2dArgs& args) {
  check_conv(in_channels, out_channels, kernel,
             {.stride = args.stride, .padding = args.padding, .dilation = args.dilation, .groups = args.groups});
  const Pair& extra = args.output_padding;
  check_pair("output_padding", extra, 0);
  if ((extra.h >= args.stride.h && extra.h >= args.dilation.h) ||
      (extra.w >= args.stride.w && extra.w >= args.dilation.w)) {
    throw InvalidArgument(
        fmt::format("output_padding is {} x {}, expected less than the stride or the dilation", extra.h, extra.w));
  }
}

Pool2dOptions check_pool(Pair kernel, Pair stride, Pair padding, bool count_include_pad) {
  if (stride == Pair(0)) stride = kernel;
  check_pair("kernel_size", kernel, 1);
  check_pair("stride", stride, 1);
  check_pair("padding", padding, 0);
  if (padding.h > kernel.h / 2 || padding.w > kernel.w / 2) {
    throw InvalidArgument(fmt::format("padding is {} x {}, expected at most half the kernel_size {} x {}", padding.h,
                                      padding.w, kernel.h, kernel.w));
  }
  return {kernel.h, kernel.w, stride.h, stride.w, padding.h, padding.w, count_include_pad};
}

void check_norm(std::int64_t features, double eps, double momentum) {
  check_size("num_features", features, 1);
  if (!(eps > 0 && eps <= 1)) throw InvalidArgument(fmt::format("eps is {}, expected more than 0 to 1", eps));
  if (!(momentum >= 0 && momentum <= 1)) {
    throw InvalidArgument(fmt::format("momentum is {}, expected 0 to 1", momentum));
  }
}

void check_dropout(double p) {
  if (!(p >= 0 && p <= 1)) throw InvalidArgument(fmt::format("p is {}, expected 0 to 1", p));
}

}  // namespace descent::nn
