// What convolution kernels read: an image, or the gradient after ReLU and 2x2 max-pooling, which is spread over the
// windows as it is read, so that the full-size gradient is never stored.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

// Four elements; load_quad and store_quad move 16 bytes at a time.
template <class T>
struct Quad {
  T v[4];
};

template <class T>
__device__ Quad<T> load_quad(const T* from) {  // 16-byte aligned
  constexpr int kN = kPack<T>;
  Quad<T> quad;
#pragma unroll
  for (int i = 0; i < 4; i += kN) {
    const Pack<T, kN> pack = load_pack<T, kN>(from + i);
#pragma unroll
    for (int j = 0; j < kN; ++j) quad.v[i + j] = pack.v[j];
  }
  return quad;
}

template <class T>
__device__ void store_quad(T* to, Quad<T> quad) {  // 16-byte aligned
  constexpr int kN = kPack<T>;
#pragma unroll
  for (int i = 0; i < 4; i += kN) {
    Pack<T, kN> pack;
#pragma unroll
    for (int j = 0; j < kN; ++j) pack.v[j] = quad.v[i + j];
    store_pack<T, kN>(to + i, pack);
  }
}

// A source finds a pixel (the offset of its channels, or -1 outside the image) and loads one or four of its channels,
// which are 0 outside. `quads`: four channels from a multiple of four on can be loaded at once.
template <class T>
struct ImageSource {
  using Element = T;
  struct Pixel {
    std::int64_t at;  // -1: outside
  };
  const T* data;
  int height, width, channels;
  bool quads;

  __device__ Pixel pixel(int image, int y, int x) const {
    const bool inside = image >= 0 && y >= 0 && y < height && x >= 0 && x < width;
    return {inside ? ((static_cast<std::int64_t>(image) * height + y) * width + x) * channels : -1};
  }
  __device__ T load(Pixel p, int channel) const { return p.at < 0 ? T{0} : data[p.at + channel]; }
  __device__ Quad<T> load_four(Pixel p, int channel) const {
    return p.at < 0 ? Quad<T>{} : load_quad(data + p.at + channel);
  }
};

// dy and code are [N, height / 2, width / 2, C]. In a window, the pixel that its code names gets the gradient; the
// others get 0, and so do odd edges.
template <class T>
struct PooledSource {
  using Element = T;
  struct Pixel {
    std::int64_t at;
    int place;  // index in its window
  };
  const T* data;
  const std::uint8_t* code;
  int height, width, channels;  // before the pooling
  bool quads;

  __device__ Pixel pixel(int image, int y, int x) const {
    const int rows = height / 2, columns = width / 2;
    const bool inside = image >= 0 && y >= 0 && y < 2 * rows && x >= 0 && x < 2 * columns;
    const std::int64_t window = (static_cast<std::int64_t>(image) * rows + y / 2) * columns + x / 2;
    return {inside ? window * channels : -1, y % 2 * 2 + x % 2};
  }
  __device__ T load(Pixel p, int channel) const {
    return p.at >= 0 && code[p.at + channel] == p.place ? data[p.at + channel] : T{0};
  }
  __device__ Quad<T> load_four(Pixel p, int channel) const {
    if (p.at < 0) return {};
    Quad<T> quad = load_quad(data + p.at + channel);
    const Pack<std::uint8_t, 4> codes = load_pack<std::uint8_t, 4>(code + p.at + channel);
#pragma unroll
    for (int i = 0; i < 4; ++i) quad.v[i] = codes.v[i] == p.place ? quad.v[i] : T{0};
    return quad;
  }
};

// Whether four channels can be moved at once, for images of `channels` in groups of `group`.
template <class T>
bool quads_fit(const T* data, int channels, int group, const std::uint8_t* code = nullptr) {
  return aligned16(data) && channels % 4 == 0 && group % 4 == 0 && reinterpret_cast<std::uintptr_t>(code) % 4 == 0;
}

}  // namespace descent::gpu
