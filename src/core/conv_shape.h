// All sizes of a convolution, as both backends use them.
#pragma once

#include <cstdint>

#include "core/window.h"
#include "descent/shape.h"
#include "descent/window_options.h"

namespace descent {

struct ConvShape {
  std::int64_t images = 0;
  std::int64_t height = 0, width = 0, channels = 0;              // x
  std::int64_t out_height = 0, out_width = 0, out_channels = 0;  // y
  std::int64_t kernel_h = 0, kernel_w = 0;
  Conv2dFuncOptions geometry;

  std::int64_t in_group() const { return channels / geometry.groups; }
  std::int64_t out_group() const { return out_channels / geometry.groups; }
  std::int64_t image() const { return height * width * channels; }
  std::int64_t out_image() const { return out_height * out_width * out_channels; }
  std::int64_t filter() const { return kernel_h * kernel_w * in_group(); }  // elements of one output channel's filter
  bool empty() const { return images == 0 || image() == 0 || out_image() == 0 || filter() == 0; }
  friend bool operator==(const ConvShape&, const ConvShape&) = default;
};

inline Window window_h(const Conv2dFuncOptions& o, std::int64_t kernel) {
  return {kernel, o.stride_h, o.padding_h, o.dilation_h};
}
inline Window window_w(const Conv2dFuncOptions& o, std::int64_t kernel) {
  return {kernel, o.stride_w, o.padding_w, o.dilation_w};
}
inline Window window_h(const Pool2dOptions& o) { return {o.kernel_h, o.stride_h, o.padding_h}; }
inline Window window_w(const Pool2dOptions& o) { return {o.kernel_w, o.stride_w, o.padding_w}; }

// Of x [N, H, W, C], w [out, kh, kw, C / groups] and y [N, Ho, Wo, out].
inline ConvShape conv_shape(const Conv2dFuncOptions& g, const Shape& x, const Shape& w, const Shape& y) {
  return {x[0], x[1], x[2], x[3], y[1], y[2], y[3], w[1], w[2], g};
}
// Without y, as for a convolution that is fused with pooling: its own output has no tensor.
inline ConvShape conv_shape(const Conv2dFuncOptions& g, const Shape& x, const Shape& w) {
  const Shape y{x[0], window_h(g, w[1]).outputs(x[1]), window_w(g, w[2]).outputs(x[2]), w[0]};
  return conv_shape(g, x, w, y);
}

}  // namespace descent
