// Rows by index: gathering, scattering, one-hot rows, normalized images, blocks. An index outside the table reads
// nothing: its row becomes zeros, and what would be added there is dropped.
#pragma once

#include "cuda/indexing/count.cuh"
#include "cuda/indexing/move.cuh"
#include "cuda/indexing/scatter.cuh"

namespace descent::gpu {

// One thread per element of y; writes y.
template <class T>
__global__ void one_hot_kernel(const std::int32_t* index, std::int64_t count, std::int64_t classes, T* y) {
  for (std::int64_t i = grid_thread(); i < count * classes; i += grid_threads()) {
    const std::int64_t row = i / classes;
    y[i] = static_cast<T>(index[row] == i - row * classes ? 1.0F : 0.0F);
  }
}

// One thread per N neighbouring elements of y (width is a multiple of N): reads N bytes, writes N elements. A
// difference times a factor cannot be contracted to an FMA, so the bits are the CPU's.
template <class T, int N>
__global__ void gather_images_kernel(const std::uint8_t* x, std::int64_t rows, const std::int32_t* index,
                                     std::int64_t packs, std::int64_t width, const float* shift, const float* scale,
                                     std::int64_t channels, T* y) {
  using V = Wide<T>;
  constexpr int kStore = N < kPack<T> ? N : kPack<T>;
  const std::int64_t packs_per_row = width / N;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const std::int64_t to = i / packs_per_row, at = (i - to * packs_per_row) * N, from = index[to];
    const bool inside = from >= 0 && from < rows;
    const Pack<std::uint8_t, N> bytes =
        inside ? load_pack<std::uint8_t, N>(x + from * width + at) : Pack<std::uint8_t, N>{};
    std::int64_t channel = at % channels;
    for (int part = 0; part < N; part += kStore) {
      Pack<V, kStore> out;
      for (int k = 0; k < kStore; ++k) {
        const V value =
            (static_cast<V>(bytes.v[part + k]) - static_cast<V>(shift[channel])) * static_cast<V>(scale[channel]);
        out.v[k] = inside ? value : V(0);
        if (++channel == channels) channel = 0;
      }
      store_narrow<T, kStore>(y + i * N + part, out);
    }
  }
}

template <class T>
void one_hot(Stream& stream, const std::int32_t* index, std::int64_t count, std::int64_t classes, T* y) {
  launch(stream, "one_hot", one_hot_kernel<T>, dim3(blocks_for(stream, count * classes)), dim3(kThreads), 0, index,
         count, classes, y);
}

// Rows of `width` elements that cycle through the channels.
template <class T>
void gather_images(Stream& stream, const std::uint8_t* x, std::int64_t rows, const std::int32_t* index,
                   std::int64_t count, std::int64_t width, const float* shift, const float* scale,
                   std::int64_t channels, T* y) {
  constexpr int N = 4;
  if (width % N == 0 && address_bits(x) % N == 0 && aligned16(y)) {
    const std::int64_t packs = count * (width / N);
    return launch(stream, "gather_images", gather_images_kernel<T, N>, dim3(blocks_for(stream, packs)), dim3(kThreads),
                  0, x, rows, index, packs, width, shift, scale, channels, y);
  }
  launch(stream, "gather_images", gather_images_kernel<T, 1>, dim3(blocks_for(stream, count * width)), dim3(kThreads),
         0, x, rows, index, count * width, width, shift, scale, channels, y);
}

}  // namespace descent::gpu
