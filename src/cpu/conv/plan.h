// Convolution plans: the offsets of pixels and filter taps in one (padded) image, computed once per shape and cached.
// Strides, dilation and groups all become offsets here, so the kernels need not know about them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "core/conv_shape.h"

namespace descent::cpu {

// What a plan computes: y from x; y from x for whole 2x2 windows only; dx from dy.
enum class ConvDirection : std::uint8_t { forward, pooled, data };

struct ConvPanel {  // adjacent output channels of one group
  std::int64_t group = 0, channel = 0, channels = 0, vectors = 0;
  std::int64_t column = 0;  // of its first channel, with all panels padded to whole vectors
};

struct ConvTap {  // an element of the filter's window
  std::int64_t ky = 0, kx = 0;
  std::int32_t offset = 0;  // in the source
};

// Output pixels that use the same taps: all of them, or for dx one of stride_h * stride_w interleaved sets.
struct ConvPass {
  std::int64_t rows = 0, columns = 0;
  std::vector<std::int32_t> source;    // [rows * columns]: offset of the pixel's patch
  std::vector<std::int32_t> target;    // [rows * columns]: offset of the pixel; pooled: in a tile [pixel][panel]
  std::vector<ConvTap> taps;           // in summation order
  std::vector<std::int32_t> segments;  // offsets of contiguous runs of `length` elements
  std::int64_t length = 0;
  std::int64_t depth = 0;   // segments.size() * length
  std::int64_t packed = 0;  // offset of its packed weights
};

struct ConvPlan {
  ConvShape shape;
  ConvDirection direction = ConvDirection::forward;
  std::int64_t lanes = 0, panel_vectors = 0;

  // The source image, padded with zeros, and the part of it that is the real image.
  std::int64_t source_rows = 0, source_columns = 0, source_channels = 0;  // channels of all groups
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t real_rows = 0, real_columns = 0;
  bool in_place = false;  // no padding needed: the image is read directly
  std::int64_t source_group = 0, target_group = 0, target_channels = 0;

  std::vector<ConvPass> passes;
  std::vector<ConvPanel> panels;
  std::int64_t columns = 0;           // of all panels, padded to whole vectors
  std::int64_t packed = 0;            // elements of all packed weights and biases
  std::vector<std::int32_t> windows;  // pooled: source offset of the first pixel of every 2x2 window

  std::int64_t row() const { return source_columns * source_channels; }
  std::int64_t source_size() const { return source_rows * row(); }
  std::int64_t panel_width() const { return panel_vectors * lanes; }
};

// From this thread's cache, or newly built. Shapes that differ only in the number of images share a plan. Null if
// offsets don't fit into 32 bits or the strides of dx need too many passes.
std::shared_ptr<const ConvPlan> conv_plan(ConvDirection direction, ConvShape shape, std::int64_t lanes,
                                          std::int64_t panel_vectors);

}  // namespace descent::cpu
