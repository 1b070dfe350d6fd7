// Options of the ops that move a window over images: conv2d, conv_transpose2d, max_pool2d and avg_pool2d.
#pragma once

#include <cstdint>

#include "descent/export.h"

namespace descent {

struct Conv2dFuncOptions {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t padding_h = 0, padding_w = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  friend bool operator==(const Conv2dFuncOptions&, const Conv2dFuncOptions&) = default;
};

struct Pool2dOptions {
  std::int64_t kernel_h = 2, kernel_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t padding_h = 0, padding_w = 0;  // at most half the kernel
  bool count_include_pad = true;              // average only
};

}  // namespace descent
