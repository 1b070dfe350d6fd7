// What convolution kernels write: blocks of four target pixels by four channels, each summed by one thread. The target
// also sets the order of pixels: if pooling follows, every four pixels are a window.
#pragma once

#include "cuda/conv/shape.cuh"
#include "cuda/conv/source.cuh"

namespace descent::gpu {

template <class T>
struct ConvBlock {
  T v[4][4];  // [pixel][channel]
};

// totals += sums; then clears the sums for the next chains.
template <class T, int N>
__device__ void end_chains(ConvBlock<T> (&sums)[N], ConvBlock<T> (&totals)[N]) {
#pragma unroll
  for (int m = 0; m < N; ++m) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        totals[m].v[p][c] += sums[m].v[p][c];
        sums[m].v[p][c] = 0;
      }
    }
  }
}

struct ConvSpot {  // a target pixel, in steps along the axes; image -1: none
  int image, t_down, t_across;
};

// An order defines the number of pixels, the i-th pixel, and the four pixels from a multiple of four on.

// Row-major: pixel by pixel, row by row, image by image.
struct PixelOrder {
  static constexpr int kRows = 1;  // rows that must stay together
  __host__ __device__ static std::int64_t pixels(int images, const ConvAxis& down, const ConvAxis& across) {
    return static_cast<std::int64_t>(images) * down.pixels * across.pixels;
  }
  template <class Index>
  __device__ static ConvSpot spot(Index i, int images, const ConvAxis& down, const ConvAxis& across) {
    if (i >= pixels(images, down, across)) return {-1, 0, 0};
    const Index row = i / across.pixels, image = row / down.pixels;
    return {static_cast<int>(image), static_cast<int>(row - image * down.pixels),
            static_cast<int>(i - row * across.pixels)};
  }
  template <class Index>
  __device__ static void four(Index i, int images, const ConvAxis& down, const ConvAxis& across, ConvSpot (&spots)[4]) {
    ConvSpot spot = PixelOrder::spot(i, images, down, across);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      spots[p] = spot;
      if (++spot.t_across < across.pixels) continue;
      spot.t_across = 0;
      if (++spot.t_down < down.pixels) continue;
      spot.t_down = 0;
      if (spot.image < 0 || ++spot.image >= images) spot.image = -1;
    }
  }
};

// Window by window: the four pixels of each 2x2 window; odd edges are dropped.
struct WindowOrder {
  static constexpr int kRows = 2;
  __host__ __device__ static std::int64_t pixels(int images, const ConvAxis& down, const ConvAxis& across) {
    return static_cast<std::int64_t>(images) * (down.pixels / 2) * (across.pixels / 2) * 4;
  }
  template <class Index>
  __device__ static ConvSpot spot(Index i, int images, const ConvAxis& down, const ConvAxis& across) {
    if (i >= pixels(images, down, across)) return {-1, 0, 0};
    const int rows = down.pixels / 2, columns = across.pixels / 2, place = static_cast<int>(i % 4);
    const Index window = i / 4, row = window / columns, image = row / rows;
    return {static_cast<int>(image), static_cast<int>(row - image * rows) * 2 + place / 2,
            static_cast<int>(window - row * columns) * 2 + place % 2};
  }
  template <class Index>
  __device__ static void four(Index i, int images, const ConvAxis& down, const ConvAxis& across, ConvSpot (&spots)[4]) {
    const ConvSpot first = spot(i, images, down, across);
#pragma unroll
    for (int p = 0; p < 4; ++p) spots[p] = {first.image, first.t_down + p / 2, first.t_across + p % 2};
  }
};

// A target's operator() writes `channels` (1 to 4) channels of four pixels, from `channel` on, which counts over all
// groups. `quads`: four channels can be written, and read from the bias, at once if `channel` within its group is a
// multiple of four; a bias in a flat parameter buffer is always aligned for that.

template <class T>
__device__ void write_channels(T* to, const T (&values)[4], int channels, bool quads) {
  if (quads && channels == 4) return store_quad(to, Quad<T>{values[0], values[1], values[2], values[3]});
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c < channels) to[c] = values[c];
  }
}

// Four channels of the bias from `channel` on, of which `channels` exist; zeros if bias is null.
template <class T>
__device__ Quad<T> load_bias(const T* bias, int channel, int channels, bool quads) {
  Quad<T> quad = {};
  if (bias == nullptr) return quad;
  if (quads && channels == 4) return load_quad(bias + channel);
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c < channels) quad.v[c] = bias[channel + c];
  }
  return quad;
}

// Keeps NaN: the comparison is false for it.
template <class T>
__device__ T relu_or_nan(T value) {
  return value < 0 ? T{0} : value;
}

template <class T>
struct ForwardTarget {
  using Order = PixelOrder;
  static constexpr bool kData = false;
  T* y;
  const T* bias;  // or null
  bool relu, quads;

  __device__ void operator()(const ConvGather& job, const ConvAxis&, const ConvAxis&, const ConvSpot* spots,
                             int channel, int channels, ConvBlock<T> block) const {
    const Quad<T> shift = load_bias(bias, channel, channels, quads);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      if (spots[p].image < 0) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (bias != nullptr) block.v[p][c] += shift.v[c];
        if (relu) block.v[p][c] = relu_or_nan(block.v[p][c]);
      }
      const std::int64_t row = static_cast<std::int64_t>(spots[p].image) * job.target_height + spots[p].t_down;
      const std::int64_t pixel = row * job.target_width + spots[p].t_across;
      write_channels(y + pixel * job.target_channels() + channel, block.v[p], channels, quads);
    }
  }
};

// max_pool2x2(relu(sum + bias)), and the index of the maximum in its window as `code`, 4 if ReLU gave 0.
template <class T>
struct PooledTarget {
  using Order = WindowOrder;
  static constexpr bool kData = false;
  T* y;
  std::uint8_t* code;
  const T* bias;  // or null
  bool quads;

  __device__ void operator()(const ConvGather& job, const ConvAxis&, const ConvAxis&, const ConvSpot* spots,
                             int channel, int channels, ConvBlock<T> block) const {
    if (spots[0].image < 0) return;
    const Quad<T> shift = load_bias(bias, channel, channels, quads);
    T best[4];
    Pack<std::uint8_t, 4> codes;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      int place = 0;
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        const T value = relu_or_nan(bias != nullptr ? block.v[p][c] + shift.v[c] : block.v[p][c]);
        const bool wins = p == 0 || (!(value <= best[c]) && !isnan(best[c]));  // greater, or the first NaN
        best[c] = wins ? value : best[c];
        place = wins ? p : place;
      }
      codes.v[c] = static_cast<std::uint8_t>(best[c] <= 0 ? 4 : place);
    }
    const std::int64_t row = static_cast<std::int64_t>(spots[0].image) * (job.target_height / 2) + spots[0].t_down / 2;
    const std::int64_t at = (row * (job.target_width / 2) + spots[0].t_across / 2) * job.target_channels() + channel;
    write_channels(y + at, best, channels, quads);
    if (quads && channels == 4) return store_pack<std::uint8_t, 4>(code + at, codes);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (c < channels) code[at + c] = codes.v[c];
    }
  }
};

template <class T>
struct GradientTarget {
  using Order = PixelOrder;
  static constexpr bool kData = true;
  T* dx;
  bool accumulate, quads;

  __device__ void operator()(const ConvGather& job, const ConvAxis& down, const ConvAxis& across, const ConvSpot* spots,
                             int channel, int channels, ConvBlock<T> block) const {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      if (spots[p].image < 0) continue;
      const std::int64_t row = static_cast<std::int64_t>(spots[p].image) * job.target_height + down.first +
                               static_cast<std::int64_t>(spots[p].t_down) * down.spread;
      const std::int64_t pixel = row * job.target_width + across.first + spots[p].t_across * across.spread;
      T* const to = dx + pixel * job.target_channels() + channel;
      if (accumulate && quads && channels == 4) {
        const Quad<T> old = load_quad(to);
#pragma unroll
        for (int c = 0; c < 4; ++c) block.v[p][c] += old.v[c];
      } else if (accumulate) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (c < channels) block.v[p][c] += to[c];
        }
      }
      write_channels(to, block.v[p], channels, quads);
    }
  }
};

}  // namespace descent::gpu
