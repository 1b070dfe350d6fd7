// What the convolution is made of: single-threaded kernels on one image, compiled once per instruction set
// (src/cpu/simd/conv_*.cpp). "Vectors" are counted in registers of that set; a panel is a few vectors of channels, the
// last one filled up with zeros. Every sum is one chain of multiply-adds in rising order, whatever the tile that it is
// computed in.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace descent::cpu {

// Chains of more products than this are cut, and the pieces added: it keeps the error of long sums small.
inline constexpr std::int64_t kLongestChain = 1024;

// c[pixel][channel] (=, +=) sum over k of a[pixel][k] b[k][channel] (+ bias, ReLU) for one panel of channels. A pixel's
// k run through `segments` pieces of `length` elements that are read where they lie in the image: nothing is copied.
template <class T>
struct ConvTileJob {
  const T* a = nullptr;
  const std::int32_t* a_offset = nullptr;  // [pixels]
  const std::int32_t* segment = nullptr;   // [segments]: from the pixel's place in a
  std::int64_t segments = 0, length = 0;
  const T* b = nullptr;                    // [segments * length][vectors * lanes]
  std::int64_t vectors = 0, channels = 0;  // channels: how many of the panel's columns are written
  const T* bias = nullptr;                 // [vectors * lanes]
  T floor = 0;                             // 0 is ReLU, -infinity none
  bool accumulate = false;
  T* c = nullptr;
  const std::int32_t* c_offset = nullptr;  // [pixels]
  std::int64_t pixels = 0;
};

// partial[k][column] += sum over pixels of x[pixel][k] dy[pixel][column] for one panel.
template <class T>
struct ConvFilterJob {
  const T* x = nullptr;
  const std::int32_t* k_offset = nullptr;  // [depth]: from the pixel's place in x
  std::int64_t depth = 0;
  std::int64_t rows = 0, columns = 0, x_row = 0, x_column = 0;  // the pixels, and the steps between them in x
  const T* dy = nullptr;                                        // [rows * columns][vectors * lanes]
  std::int64_t vectors = 0;
  T* partial = nullptr;
};

inline constexpr std::int64_t kConvListedChannels = 16;

// Gradients of a 2x2-pooled convolution of stride 1: of the four outputs under a window only `code` has one, and none
// where it is 4. Lines are kernel_w * channels_in contiguous elements; `pitch` is that rounded up to whole vectors.
template <class T>
struct ConvSparseJob {
  const T* dy = nullptr;               // [windows][channels]
  const std::uint8_t* code = nullptr;  // [windows][channels]
  std::int64_t windows = 0, channels = 0;
  const std::int32_t* place =
      nullptr;  // [windows]: where the patch of the window's first output begins in the padded image
  std::int64_t row = 0, column = 0;  // steps of the padded image
  std::int64_t kernel_h = 0, line = 0, pitch = 0;
  const T* x = nullptr;                   // padded image, readable `pitch` elements beyond its end (filter)
  T* partial = nullptr;                   // [channels][kernel_h][pitch], added to (filter)
  const T* w = nullptr;                   // [channels][kernel_h][pitch] (data)
  T* dx = nullptr;                        // padded image, added to (data)
  std::int32_t* list_offset = nullptr;    // room for [windows] (filter), [windows * 4] (data: counts)
  T* list_value = nullptr;                // room for [windows] (filter)
  std::uint16_t* list_channel = nullptr;  // room for [windows * 4 * channels] (data)
};

// max_pool2x2 of a computed, rectified tile [rows * 2][columns * 2][width] into y and code.
template <class T>
struct ConvPoolJob {
  const T* tile = nullptr;
  std::int64_t rows = 0, columns = 0, width = 0, channels = 0;
  T* y = nullptr;
  std::uint8_t* code = nullptr;
  std::int64_t stride = 0;  // elements between neighbouring windows of y and code
};

// The way back: pooled dy [rows][columns] to out [rows * 2][columns * 2], each with its own steps; 0 where no gradient
// goes.
template <class T>
struct ConvExpandJob {
  const T* dy = nullptr;
  const std::uint8_t* code = nullptr;
  std::int64_t rows = 0, columns = 0, channels = 0, stride = 0;
  T* out = nullptr;
  std::int64_t out_row = 0, out_column = 0;
  bool whole_vectors = false;  // out has room for whole vectors of channels: what is beyond may be anything
};

template <class T>
struct ConvKernels {
  std::int64_t lanes = 0, panel_vectors = 0;  // elements of a vector; vectors of a panel at most
  void (*tile)(const ConvTileJob<T>&) = nullptr;
  void (*filter)(const ConvFilterJob<T>&) = nullptr;
  // to[i][j] = from[i * stride + j], the columns from `channels` up to whole vectors filled with 0.
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
