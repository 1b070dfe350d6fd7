// Where the elements of a convolution meet: offsets of pixels and filter taps in one (padded) image, worked out once
// per shape and kept. Strides, dilation and groups all become offsets here, so that the kernels know nothing of them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend.h"

namespace descent::cpu {

struct ConvShape {
  std::int64_t images = 0;
  std::int64_t height = 0, width = 0, channels = 0;              // x
  std::int64_t out_height = 0, out_width = 0, out_channels = 0;  // y
  std::int64_t kernel_h = 0, kernel_w = 0;
  ConvGeometry geometry;

  std::int64_t in_group() const { return channels / geometry.groups; }
  std::int64_t out_group() const { return out_channels / geometry.groups; }
  std::int64_t image() const { return height * width * channels; }
  std::int64_t out_image() const { return out_height * out_width * out_channels; }
  std::int64_t filter() const { return kernel_h * kernel_w * in_group(); }  // elements of one output channel's filter
  bool empty() const { return images == 0 || image() == 0 || out_image() == 0 || filter() == 0; }
  friend bool operator==(const ConvShape&, const ConvShape&) = default;
};

ConvShape conv_shape(const ConvGeometry& g, const Shape& x, const Shape& w, const Shape& y);

// What a plan computes: y from x; y from x for whole 2x2 windows only; dx from dy.
enum class ConvDirection : std::uint8_t { forward, pooled, data };

struct ConvPanel {  // neighbouring output channels of one group
  std::int64_t group = 0, channel = 0, channels = 0, vectors = 0;
  std::int64_t column = 0;  // of its first channel, when every panel is filled up to whole vectors
};

struct ConvTap {  // an element of the filter's window
  std::int64_t ky = 0, kx = 0;
  std::int32_t offset = 0;  // in the source
};

// The output pixels that meet the same taps: all of them, or for dx one of stride_h * stride_w interleaved sets.
struct ConvPass {
  std::int64_t rows = 0, columns = 0;
  std::vector<std::int32_t> source;    // [rows * columns] of the pixel's patch
  std::vector<std::int32_t> target;    // [rows * columns] of the pixel; pooled: in a tile [pixel][panel]
  std::vector<ConvTap> taps;           // in the order of the sum
  std::vector<std::int32_t> segments;  // contiguous runs of `length` elements
  std::int64_t length = 0;
  std::int64_t depth = 0;   // segments.size() * length
  std::int64_t packed = 0;  // where its packed weights begin
};

struct ConvPlan {
  ConvShape shape;
  ConvDirection direction = ConvDirection::forward;
  std::int64_t lanes = 0, panel_vectors = 0;

  // The source image, padded with zeros, and what of it the real one is.
  std::int64_t source_rows = 0, source_columns = 0, source_channels = 0;  // channels of all groups
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t real_rows = 0, real_columns = 0;
  bool in_place = false;  // nothing to pad: read where it lies
  std::int64_t source_group = 0, target_group = 0, target_channels = 0;

  std::vector<ConvPass> passes;
  std::vector<ConvPanel> panels;
  std::int64_t columns = 0;           // of all panels, filled up
  std::int64_t packed = 0;            // elements of all packed weights
  std::vector<std::int32_t> windows;  // pooled: the first pixel's source of every 2x2 window

  std::int64_t row() const { return source_columns * source_channels; }
  std::int64_t source_size() const { return source_rows * row(); }
  std::int64_t panel_width() const { return panel_vectors * lanes; }
};

// From this thread's cache, or newly made. Shapes that differ only in the number of images share a plan.
// Null where offsets don't fit into 32 bits.
std::shared_ptr<const ConvPlan> conv_plan(ConvDirection direction, ConvShape shape, std::int64_t lanes,
                                          std::int64_t panel_vectors);

}  // namespace descent::cpu
