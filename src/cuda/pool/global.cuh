// Global average pooling, [n, pixels, channels] -> [n, channels], and its gradient. Large images are split into parts
// whose sums are merged in order; the split depends on the sizes alone.
#pragma once

#include "backend/backend.h"
#include "cuda/accumulate.cuh"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

struct GlobalPool {
  std::int64_t n, pixels, channels;
  std::int64_t parts;  // into which an image's pixels are split
  std::int64_t lanes;  // threads of a block on adjacent channels, a power of two up to 32
  std::int64_t tiles;  // of `lanes` channels each
};

inline GlobalPool global_pool_plan(std::int64_t n, std::int64_t pixels, std::int64_t channels) {
  constexpr std::int64_t kPartPixels = 2048, kMostParts = 256, kEnoughBlocks = 1024;
  GlobalPool p{n, pixels, channels, 1, 1, 0};
  while (p.lanes < kWarp && p.lanes < channels) p.lanes *= 2;
  p.tiles = divide_up(channels, p.lanes);
  if (n * p.tiles < kEnoughBlocks && pixels > kPartPixels) {
    const std::int64_t parts = divide_up(pixels, kPartPixels);
    p.parts = parts < kMostParts ? parts : kMostParts;
  }
  return p;
}

// A block per part of an image and tile of channels. A thread sums every (blockDim.x / lanes)-th pixel of its
// channel in Sum; then a tree in shared memory merges the sums. Reads x once; writes y if an image is one
// part, else the part's sums.
template <class T>
__global__ void global_average_pool_kernel(GlobalPool p, const T* x, T* y, Sum<Wide<T>>* partial) {
  using State = Sum<Wide<T>>;
  alignas(16) __shared__ unsigned char raw[kThreads * sizeof(State)];
  State* const sums = reinterpret_cast<State*>(raw);
  const int lanes = static_cast<int>(p.lanes), rows = static_cast<int>(blockDim.x) / lanes;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes, row = thread / lanes;
  for (std::int64_t group = blockIdx.x; group < p.n * p.parts * p.tiles; group += gridDim.x) {
    const std::int64_t image_part = group / p.tiles, image = image_part / p.parts, part = image_part % p.parts;
    const std::int64_t c = group % p.tiles * lanes + lane;
    const std::int64_t end = p.pixels * (part + 1) / p.parts;
    State sum;
    if (c < p.channels) {
      for (std::int64_t pixel = p.pixels * part / p.parts + row; pixel < end; pixel += rows) {
        sum.add(widen(x[(image * p.pixels + pixel) * p.channels + c]));
      }
    }
    sums[thread] = sum;
    for (int half = rows / 2; half > 0; half /= 2) {
      __syncthreads();
      if (row < half) {
        sum.merge(sums[thread + half * lanes]);
        sums[thread] = sum;
      }
    }
    if (row == 0 && c < p.channels) {
      if (p.parts == 1) {
        y[image * p.channels + c] = narrow<T>(sum.rounded() / static_cast<Wide<T>>(p.pixels));
      } else {
        partial[image_part * p.channels + c] = sum;
      }
    }
    __syncthreads();  // before `sums` is written for the next group
  }
}

// A thread per element of y: merges the sums of the parts in order.
template <class T>
__global__ void global_average_pool_parts_kernel(GlobalPool p, const Sum<Wide<T>>* partial, T* y) {
  for (std::int64_t i = grid_thread(); i < p.n * p.channels; i += grid_threads()) {
    const std::int64_t image = i / p.channels, c = i % p.channels;
    Sum<Wide<T>> sum;
    for (std::int64_t part = 0; part < p.parts; ++part) {
      sum.merge(partial[(image * p.parts + part) * p.channels + c]);
    }
    y[i] = narrow<T>(sum.rounded() / static_cast<Wide<T>>(p.pixels));
  }
}

// A thread per pack of dx; reads dy from the cache, writes (and, to accumulate, reads) dx.
template <class T, int N>
__global__ void global_average_pool_backward_kernel(std::int64_t count, std::int64_t pixels, std::int64_t packs,
                                                    const T* dy, T* dx, bool accumulate) {
  const Wide<T> divisor = static_cast<Wide<T>>(pixels);
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const std::int64_t pixel = i / packs, image = pixel / pixels;
    const Pack<Wide<T>, N> gradient = load_wide<T, N>(dy + (image * packs + i - pixel * packs) * N);
    Pack<Wide<T>, N> out = accumulate ? load_wide<T, N>(dx + i * N) : Pack<Wide<T>, N>{};
    for (int k = 0; k < N; ++k) out.v[k] += gradient.v[k] / divisor;
    store_narrow<T, N>(dx + i * N, out);
  }
}

template <class T>
void global_average_pool(Stream& stream, std::int64_t n, std::int64_t pixels, std::int64_t channels, const T* x, T* y) {
  if (n * channels == 0) return;
  const GlobalPool p = global_pool_plan(n, pixels, channels);
  Scratch<Sum<Wide<T>>> partial(stream, p.parts == 1 ? 0 : n * p.parts * channels);
  launch(stream, "global_average_pool", global_average_pool_kernel<T>,
         dim3(blocks_for(stream, n * p.parts * p.tiles, 1)), dim3(kThreads), 0, p, x, y, partial.data());
  if (p.parts == 1) return;
  launch(stream, "global_average_pool_parts", global_average_pool_parts_kernel<T>,
         dim3(blocks_for(stream, n * channels)), dim3(kThreads), 0, p, partial.data(), y);
}

template <class T, int N>
void global_average_pool_backward_packs(Stream& stream, std::int64_t n, std::int64_t pixels, std::int64_t packs,
                                        const T* dy, T* dx, Write write) {
  const std::int64_t count = n * pixels * packs;
  launch(stream, "global_average_pool_backward", global_average_pool_backward_kernel<T, N>,
         dim3(blocks_for(stream, count)), dim3(kThreads), 0, count, pixels, packs, dy, dx, write == Write::accumulate);
}

template <class T>
void global_average_pool_backward(Stream& stream, std::int64_t n, std::int64_t pixels, std::int64_t channels,
                                  const T* dy, T* dx, Write write) {
  constexpr int N = kPack<T>;
  if (channels % N == 0 && aligned16(dy, dx)) {
    return global_average_pool_backward_packs<T, N>(stream, n, pixels, channels / N, dy, dx, write);
  }
  global_average_pool_backward_packs<T, 1>(stream, n, pixels, channels, dy, dx, write);
}

}  // namespace descent::gpu
