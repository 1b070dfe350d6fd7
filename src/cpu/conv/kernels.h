// The kernels of the convolution: single-threaded, on one image, compiled once per instruction set
// (*_simd.cpp). A vector is one register of that set; a panel is a few vectors of channels,
// the last one padded with zeros. Every sum is a chain of multiply-adds in ascending order, whatever the
// tile in which it is computed.
#pragma once

#include <cstdint>

#include "cpu/simd/level.h"

namespace descent::cpu {

// Longer chains of products are cut and the pieces added, which keeps the error of long sums small.
inline constexpr std::int64_t kLongestChain = 1024;

// c[pixel][channel] (=, +=) sum over k of a[pixel][k] b[k][channel] (+ bias, ReLU) for one panel of channels. A
// pixel's k is `segments` pieces of `length` elements, read directly from the image: nothing is copied.
template <class T>
struct ConvTileJob {
  const T* a = nullptr;
  const std::int32_t* a_offset = nullptr;  // [pixels]
  const std::int32_t* segment = nullptr;   // [segments]: offset from the pixel's a_offset
  std::int64_t segments = 0, length = 0;
  const T* b = nullptr;                    // [segments * length][vectors * lanes]
  std::int64_t vectors = 0, channels = 0;  // channels: how many of the panel's columns are written
  const T* bias = nullptr;                 // [vectors * lanes]
  T floor = 0;                             // 0: ReLU; -infinity: no activation
  bool accumulate = false;
  T* c = nullptr;
  const std::int32_t* c_offset = nullptr;  // [pixels]
  std::int64_t pixels = 0;
};

// partial[k][column] += sum over pixels of x[pixel][k] dy[pixel][column] for one panel.
template <class T>
struct ConvFilterJob {
  const T* x = nullptr;
  const std::int32_t* k_offset = nullptr;  // [depth]: offset from the pixel in x
  std::int64_t depth = 0;
  std::int64_t rows = 0, columns = 0, x_row = 0, x_column = 0;  // the pixels, and their strides in x
  const T* dy = nullptr;                                        // [rows * columns][vectors * lanes]
  std::int64_t vectors = 0;
  T* partial = nullptr;
};

// Channels whose gradients sparse_filter lists at once.
inline constexpr std::int64_t kConvListedChannels = 16;

// Gradients of a stride-1 convolution that is followed by 2x2 pooling: of the four outputs of a window only the one
// that `code` names has a gradient, and none if it is 4. Lines are kernel_w * channels_in contiguous elements; `pitch`
// is that rounded up to whole vectors.
template <class T>
struct ConvSparseJob {
  const T* dy = nullptr;               // [windows][channels]
  const std::uint8_t* code = nullptr;  // [windows][channels]
  std::int64_t windows = 0, channels = 0;
  // [windows]: offset in the padded image of the patch of the window's first output.
  const std::int32_t* place = nullptr;
  std::int64_t row = 0, column = 0;  // strides of the padded image
  std::int64_t kernel_h = 0, line = 0, pitch = 0;
  const T* x = nullptr;  // padded image, readable pitch - line elements past its end (filter)
  T* partial = nullptr;  // [channels][kernel_h][pitch], added to (filter)
  const T* w = nullptr;  // [channels][kernel_h][pitch] (data)
  T* dx = nullptr;       // padded image, added to (data)
  // Workspace: list_offset [kConvListedChannels * windows] (filter) or [windows * 4] (data: counts).
  std::int32_t* list_offset = nullptr;
  T* list_value = nullptr;                // [kConvListedChannels * windows] (filter)
  std::uint16_t* list_channel = nullptr;  // [windows * 4 * channels] (data)
};

// 2x2 max pooling of a computed, rectified tile [rows * 2][columns * 2][width] into y and code.
template <class T>
struct ConvPoolJob {
  const T* tile = nullptr;
  std::int64_t rows = 0, columns = 0, width = 0, channels = 0;
  T* y = nullptr;
  std::uint8_t* code = nullptr;
  std::int64_t stride = 0;  // elements between adjacent windows of y and code
};

// Its backward: expands pooled dy [rows][columns] to out [rows * 2][columns * 2], each with its own strides; 0
// where there is no gradient.
template <class T>
struct ConvExpandJob {
  const T* dy = nullptr;
  const std::uint8_t* code = nullptr;
  std::int64_t rows = 0, columns = 0, channels = 0, stride = 0;
  T* out = nullptr;
  std::int64_t out_row = 0, out_column = 0;
  bool whole_vectors = false;  // out holds whole vectors of channels; the excess elements may be anything
};

template <class T>
struct ConvKernels {
  std::int64_t lanes = 0, panel_vectors = 0;  // elements of a vector; most vectors of a panel
  void (*tile)(const ConvTileJob<T>&) = nullptr;
  void (*filter)(const ConvFilterJob<T>&) = nullptr;
  // to[i][j] = from[i * stride + j]; the columns from `channels` up to whole vectors are 0.
  void (*gather)(const T* from, std::int64_t stride, std::int64_t channels, std::int64_t pixels, T* to) = nullptr;
  void (*sparse_filter)(const ConvSparseJob<T>&) = nullptr;
  void (*sparse_data)(const ConvSparseJob<T>&) = nullptr;
  void (*pool)(const ConvPoolJob<T>&) = nullptr;
  void (*expand)(const ConvExpandJob<T>&) = nullptr;
  // sum[c] += dy[i][c] wherever code[i][c] < 4.
  void (*sum_selected)(const T* dy, const std::uint8_t* code, std::int64_t windows, std::int64_t channels,
                       T* sum) = nullptr;
};

struct ConvKernelTable {
  ConvKernels<float> f32;
  ConvKernels<double> f64;
};
DESCENT_SIMD_TABLE(ConvKernelTable, conv_kernel_table)

template <class T>
const ConvKernels<T>& conv_kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return conv_kernel_table().f32;
  } else {
    return conv_kernel_table().f64;
  }
}

}  // namespace descent::cpu
