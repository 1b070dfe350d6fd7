// The sizes of a convolution, and the form that its forward and its data gradient share, here called a gather: a target
// pixel sums, tap by tap, over channels of a source image. Kernels see strides, dilations and phases only as the steps,
// bases and reaches of ConvAxis.
#pragma once

#include <string>

#include "backend/backend.h"
#include "core/conv_shape.h"
#include "cuda/runtime/launch.cuh"
#include "descent/error.h"

namespace descent::gpu {

struct ConvLine {  // one axis of the image
  int size, out_size, kernel, stride, pad, dilation;
};

// Along one axis of the image, target pixel first + t * spread, t < pixels, combines source position t * step + base +
// j * reach with filter element tap + j * tap_step, for j < taps.
struct ConvAxis {
  int pixels, first, spread;
  int step, base, reach, taps;
  int tap, tap_step;
};

__host__ __device__ inline ConvAxis forward_axis(const ConvLine& a) {
  return {a.out_size, 0, 1, a.stride, -a.pad, a.dilation, a.kernel, 0, 1};
}

// For the data gradient. Pixels phase, phase + stride, ... use the same filter elements: every period-th, in descending
// order, so that the source position ascends.
__host__ __device__ inline ConvAxis data_axis(const ConvLine& a, int phase) {
  int tap = a.kernel - 1, period = 1;
  while (tap >= 0 && (phase + a.pad - tap * a.dilation) % a.stride != 0) --tap;
  while (period * a.dilation % a.stride != 0) ++period;
  const int pixels = phase < a.size ? (a.size - phase + a.stride - 1) / a.stride : 0;
  const int reach = period * a.dilation / a.stride;  // the same for all phases
  if (tap < 0) return {pixels, phase, a.stride, 1, 0, reach, 0, 0, 0};
  const int base = (phase + a.pad - tap * a.dilation) / a.stride;
  return {pixels, phase, a.stride, 1, base, reach, tap / period + 1, tap, -period};
}

// What a launch computes. The filter element for target channel q, source channel c (within their group) and tap (ky,
// kx) has index group * weight_group + q * weight_target + c * weight_source + (ky * kernel_w + kx) * weight_tap.
struct ConvGather {
  ConvLine rows, columns;
  bool data;  // data gradient; else forward
  int images, groups;
  int source_group, target_group;  // channels
  int target_height, target_width;
  int weight_group, weight_target, weight_source, weight_tap;

  __host__ __device__ int phases() const { return data ? rows.stride * columns.stride : 1; }
  __host__ __device__ ConvAxis down(int phase) const {
    return data ? data_axis(rows, phase / columns.stride) : forward_axis(rows);
  }
  __host__ __device__ ConvAxis across(int phase) const {
    return data ? data_axis(columns, phase % columns.stride) : forward_axis(columns);
  }
  __host__ __device__ int target_channels() const { return target_group * groups; }
  int most_depth() const { return rows.kernel * columns.kernel * source_group; }
};

// Ensures that positions in an image and offsets in the filter fit into 32 bits; offsets of images take 64.
inline void check_conv_sizes(const ConvShape& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 29;
  const Conv2dFuncOptions& g = s.geometry;
  for (const std::int64_t size :
       {s.images, s.height + 2 * g.padding_h, s.width + 2 * g.padding_w, s.out_height, s.out_width, s.channels,
        s.out_channels, s.kernel_h * g.dilation_h, s.kernel_w * g.dilation_w, g.stride_h, g.stride_w,
        g.stride_h * g.stride_w, g.dilation_h * g.stride_h, g.dilation_w * g.stride_w, s.filter() * s.out_channels}) {
    if (size > kMost) {
      throw InvalidArgument("conv on CUDA: found a size of " + std::to_string(size) + ", expected at most " +
                            std::to_string(kMost) + " for axes of an image and elements of a filter");
    }
  }
}

inline ConvGather conv_gather(const ConvShape& s, bool data) {
  check_conv_sizes(s);
  const auto number = [](std::int64_t size) { return static_cast<int>(size); };
  const Conv2dFuncOptions& g = s.geometry;
  ConvGather job{};
  job.rows = {number(s.height),   number(s.out_height), number(s.kernel_h),
              number(g.stride_h), number(g.padding_h),  number(g.dilation_h)};
  job.columns = {number(s.width),    number(s.out_width), number(s.kernel_w),
                 number(g.stride_w), number(g.padding_w), number(g.dilation_w)};
  job.data = data;
  job.images = number(s.images);
  job.groups = number(g.groups);
  job.source_group = number(data ? s.out_group() : s.in_group());
  job.target_group = number(data ? s.in_group() : s.out_group());
  job.target_height = number(data ? s.height : s.out_height);
  job.target_width = number(data ? s.width : s.out_width);
  job.weight_group = number(s.out_group() * s.filter());
  job.weight_tap = number(s.in_group());
  job.weight_target = data ? 1 : number(s.filter());
  job.weight_source = data ? number(s.filter()) : 1;
  return job;
}

// Sums over `depth` products are split into chains of this length, and the sums of the chains are added: neither
// gets long enough for rounding errors to build up. Depends only on the depth, and every kernel uses it, so all
// give the same bits.
__host__ __device__ inline int conv_chain(int depth) {
  int chain = 32;
  while (chain < depth / chain) chain *= 2;
  return chain;
}

// The index of a product in the order of summation: row of taps, tap, source channel.
struct ConvDepth {
  int j_down, j_across, channel;

  __device__ void set(int k, const ConvAxis& across, int channels) {
    const int tap = k / channels;
    channel = k - tap * channels;
    j_down = tap / across.taps;
    j_across = tap - j_down * across.taps;
  }
  __device__ void advance(int by, const ConvAxis& across, int channels) {
    channel += by;
    while (channel >= channels) {
      channel -= channels;
      if (++j_across == across.taps) {
        j_across = 0;
        ++j_down;
      }
    }
  }
};

}  // namespace descent::gpu
