// The sizes of what a window (the kernel of a convolution or of a pooling) moves over, along one axis.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace descent {

struct Window {
  std::int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;

  std::int64_t extent() const { return dilation * (kernel - 1) + 1; }  // elements from its first tap to its last
  // The number of windows in a padded line of `size` elements; 0 if not even one fits.
  std::int64_t outputs(std::int64_t size) const {
    const std::int64_t rest = size + 2 * padding - extent();
    return rest < 0 ? 0 : rest / stride + 1;
  }
  // The size of the line that gives `outputs` windows, plus `extra` (a transposed convolution's output). Less than 1 if
  // there is none; the largest integer if it overflows.
  std::int64_t inputs(std::int64_t outputs, std::int64_t extra) const {
    const __int128 size =
        static_cast<__int128>(outputs - 1) * stride - 2 * static_cast<__int128>(padding) + extent() + extra;
    constexpr __int128 kMost = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::clamp(size, -kMost, kMost));
  }
};

}  // namespace descent
