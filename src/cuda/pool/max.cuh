// Max pooling. A window's code is the position of its first maximum, where NaN is larger than everything; the bits
// equal the CPU's. Gradients are gathered: a pixel reads the windows that contain it, so nothing is cleared first
// and no atomics are needed.
#pragma once

#include "cuda/accumulate.cuh"
#include "cuda/pool/window.cuh"

namespace descent::gpu {

// The running maximum of N channels and its position. V: the type in which values are compared, float for bf16.
template <class V, int N, class Code>
struct Maximum {
  Pack<V, N> best;
  Pack<Code, N> code;

  __device__ void start(Pack<V, N> values, std::int64_t place) {
    best = values;
    for (int k = 0; k < N; ++k) code.v[k] = static_cast<Code>(place);
  }
  __device__ void meet(Pack<V, N> values, std::int64_t place) {
    for (int k = 0; k < N; ++k) {
      const bool wins = !(values.v[k] <= best.v[k]) && !isnan(best.v[k]);  // greater, or the first NaN
      best.v[k] = wins ? values.v[k] : best.v[k];
      code.v[k] = wins ? static_cast<Code>(place) : code.v[k];
    }
  }
};

// A thread per pack of y: reads its window, writes y and code.
template <class T, int N, class Code>
__global__ void max_pool_kernel(PoolSize s, std::int64_t packs, const T* x, T* y, Code* code) {
  const Pool2dOptions& g = s.g;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, s.out_h, s.out_w, s.c / N);
    const PoolSpan rows = window_span(at.row, s.h, g.kernel_h, g.stride_h, g.padding_h);
    const PoolSpan cols = window_span(at.col, s.w, g.kernel_w, g.stride_w, g.padding_w);
    const T* const image = x + at.image * s.h * s.w * s.c + at.channel;
    // The position of pixel (h, w) in the window is h * kernel_w + w - origin.
    const std::int64_t origin = (at.row * g.stride_h - g.padding_h) * g.kernel_w + at.col * g.stride_w - g.padding_w;
    Maximum<Wide<T>, N, Code> maximum;
    maximum.start(load_wide<T, N>(image + (rows.begin * s.w + cols.begin) * s.c),
                  rows.begin * g.kernel_w + cols.begin - origin);
    for (std::int64_t h = rows.begin; h < rows.end; ++h) {
      for (std::int64_t w = cols.begin; w < cols.end; ++w) {
        maximum.meet(load_wide<T, N>(image + (h * s.w + w) * s.c), h * g.kernel_w + w - origin);
      }
    }
    store_narrow<T, N>(y + i * N, maximum.best);
    store_pack<Code, N>(code + i * N, maximum.code);
  }
}

// Positions in 2x2 windows, stored as a byte each or as 2 bits each: four to a byte, the first in the lowest bits.
struct PlaceBytes {
  template <int N>
  static __device__ void store(std::uint8_t* code, std::int64_t at, Pack<std::uint8_t, N> places) {
    store_pack<std::uint8_t, N>(code + at, places);
  }
  template <int N>
  static __device__ Pack<std::uint8_t, N> load(const std::uint8_t* code, std::int64_t at) {
    return load_pack<std::uint8_t, N>(code + at);
  }
};
struct PlaceBits {
  template <int N>
  static __device__ void store(std::uint8_t* code, std::int64_t at, Pack<std::uint8_t, N> places) {
    static_assert(N % 4 == 0);
    Pack<std::uint8_t, N / 4> bytes{};
#pragma unroll
    for (int k = 0; k < N; ++k) {
      bytes.v[k / 4] = static_cast<std::uint8_t>(bytes.v[k / 4] | static_cast<unsigned>(places.v[k]) << 2 * (k % 4));
    }
    store_pack<std::uint8_t, N / 4>(code + at / 4, bytes);
  }
  template <int N>
  static __device__ Pack<std::uint8_t, N> load(const std::uint8_t* code, std::int64_t at) {
    static_assert(N % 4 == 0);
    const Pack<std::uint8_t, N / 4> bytes = load_pack<std::uint8_t, N / 4>(code + at / 4);
    Pack<std::uint8_t, N> places;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      places.v[k] = static_cast<std::uint8_t>(static_cast<unsigned>(bytes.v[k / 4]) >> 2 * (k % 4) & 3U);
    }
    return places;
  }
};

// N elements, in 16-byte accesses or one by one.
template <class T, int N, bool aligned>
__device__ Pack<Wide<T>, N> load_some(const T* from) {
  if constexpr (aligned) {
    return widen_pack<T, N>(load_long<T, N>(from));
  } else {
    Pack<Wide<T>, N> all;
    for (int k = 0; k < N; ++k) all.v[k] = widen(from[k]);
    return all;
  }
}
template <class T, int N, bool aligned>
__device__ void store_some(T* to, Pack<Wide<T>, N> all) {
  if constexpr (aligned) {
    store_long<T, N>(to, narrow_pack<T, N>(all));
  } else {
    for (int k = 0; k < N; ++k) to[k] = narrow<T>(all.v[k]);
  }
}

// The common case, 2x2 windows with stride 2 and no padding: four positions known at compile time.
template <class T, int N, class Places, bool aligned>
__global__ void max_pool_2x2_kernel(PoolSize s, std::int64_t packs, const T* x, T* y, std::uint8_t* code) {
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, s.out_h, s.out_w, s.c / N);
    const T* const from = x + ((at.image * s.h + 2 * at.row) * s.w + 2 * at.col) * s.c + at.channel;
    Pack<Wide<T>, N> values[4];
    for (int k = 0; k < 4; ++k) values[k] = load_some<T, N, aligned>(from + ((k / 2) * s.w + k % 2) * s.c);
    Maximum<Wide<T>, N, std::uint8_t> maximum;
    maximum.start(values[0], 0);
    for (int k = 1; k < 4; ++k) maximum.meet(values[k], k);
    store_some<T, N, aligned>(y + i * N, maximum.best);
    Places::template store<N>(code, i * N, maximum.code);
  }
}

// A thread per pack of dx: reads dy and code of the windows that contain it; sums in Sum<Wide<T>>, in window order.
template <class T, int N, class Code>
__global__ void max_pool_backward_kernel(PoolSize s, std::int64_t packs, const T* dy, const Code* code, T* dx,
                                         bool accumulate) {
  const Pool2dOptions& g = s.g;
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, s.h, s.w, s.c / N);
    const PoolSpan rows = covering_span(at.row, s.out_h, g.kernel_h, g.stride_h, g.padding_h);
    const PoolSpan cols = covering_span(at.col, s.out_w, g.kernel_w, g.stride_w, g.padding_w);
    Sum<Wide<T>> sums[N];
    for (std::int64_t oh = rows.begin; oh < rows.end; ++oh) {
      for (std::int64_t ow = cols.begin; ow < cols.end; ++ow) {
        const std::int64_t from = ((at.image * s.out_h + oh) * s.out_w + ow) * s.c + at.channel;
        const std::int64_t place =
            (at.row + g.padding_h - oh * g.stride_h) * g.kernel_w + at.col + g.padding_w - ow * g.stride_w;
        const Pack<Code, N> winner = load_pack<Code, N>(code + from);
        const Pack<Wide<T>, N> gradient = load_wide<T, N>(dy + from);
        for (int k = 0; k < N; ++k) {
          if (winner.v[k] == place) sums[k].add(gradient.v[k]);
        }
      }
    }
    Pack<Wide<T>, N> out = accumulate ? load_wide<T, N>(dx + i * N) : Pack<Wide<T>, N>{};
    for (int k = 0; k < N; ++k) out.v[k] += sums[k].rounded();
    store_narrow<T, N>(dx + i * N, out);
  }
}

// A thread per pack of a 2x2 cell of dx. Cells at odd edges are clipped and have no window. Reads dy and code once.
template <class T, int N, class Places, bool aligned>
__global__ void max_pool_2x2_backward_kernel(PoolSize s, std::int64_t packs, const T* dy, const std::uint8_t* code,
                                             T* dx, bool accumulate) {
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const PoolPlace at = pool_place<N>(i, (s.h + 1) / 2, (s.w + 1) / 2, s.c / N);
    const bool window = at.row < s.out_h && at.col < s.out_w;
    if (!window && accumulate) continue;
    Pack<Wide<T>, N> gradient{};
    Pack<std::uint8_t, N> winner{};
    if (window) {
      const std::int64_t from = ((at.image * s.out_h + at.row) * s.out_w + at.col) * s.c + at.channel;
      gradient = load_some<T, N, aligned>(dy + from);
      winner = Places::template load<N>(code, from);
    }
    for (int place = 0; place < 4; ++place) {
      const std::int64_t h = 2 * at.row + place / 2, w = 2 * at.col + place % 2;
      if (h >= s.h || w >= s.w) continue;
      T* const to = dx + ((at.image * s.h + h) * s.w + w) * s.c + at.channel;
      Pack<Wide<T>, N> out = accumulate ? load_some<T, N, aligned>(to) : Pack<Wide<T>, N>{};
      for (int k = 0; k < N; ++k) out.v[k] += winner.v[k] == place ? gradient.v[k] : Wide<T>(0);
      store_some<T, N, aligned>(to, out);
    }
  }
}

inline bool plain_2x2(const Pool2dOptions& g) {
  return g.kernel_h == 2 && g.kernel_w == 2 && g.stride_h == 2 && g.stride_w == 2 && g.padding_h == 0 &&
         g.padding_w == 0;
}

template <class T, int N, class Places, bool aligned>
void max_pool_2x2(Stream& stream, const PoolSize& s, const T* x, T* y, std::uint8_t* code) {
  const std::int64_t packs = s.n * s.out_h * s.out_w * (s.c / N);
  launch(stream, "max_pool_2x2", max_pool_2x2_kernel<T, N, Places, aligned>, dim3(blocks_for(stream, packs)),
         dim3(kThreads), 0, s, packs, x, y, code);
}

template <class T, int N, class Places, bool aligned>
void max_pool_2x2_backward(Stream& stream, const PoolSize& s, const T* dy, const std::uint8_t* code, T* dx,
                           Write write) {
  const std::int64_t packs = s.n * ((s.h + 1) / 2) * ((s.w + 1) / 2) * (s.c / N);
  launch(stream, "max_pool_2x2_backward", max_pool_2x2_backward_kernel<T, N, Places, aligned>,
         dim3(blocks_for(stream, packs)), dim3(kThreads), 0, s, packs, dy, code, dx, write == Write::accumulate);
}

template <class T, int N, class Code>
void max_pool_packs(Stream& stream, const PoolSize& s, const T* x, T* y, Code* code) {
  if constexpr (sizeof(Code) == 1) {
    if (plain_2x2(s.g)) return max_pool_2x2<T, N, PlaceBytes, true>(stream, s, x, y, code);
  }
  const std::int64_t packs = s.n * s.out_h * s.out_w * (s.c / N);
  launch(stream, "max_pool", max_pool_kernel<T, N, Code>, dim3(blocks_for(stream, packs)), dim3(kThreads), 0, s, packs,
         x, y, code);
}

template <class T, int N, class Code>
void max_pool_backward_packs(Stream& stream, const PoolSize& s, const T* dy, const Code* code, T* dx, Write write) {
  if constexpr (sizeof(Code) == 1) {
    if (plain_2x2(s.g)) return max_pool_2x2_backward<T, N, PlaceBytes, true>(stream, s, dy, code, dx, write);
  }
  const std::int64_t packs = s.n * s.h * s.w * (s.c / N);
  launch(stream, "max_pool_backward", max_pool_backward_kernel<T, N, Code>, dim3(blocks_for(stream, packs)),
         dim3(kThreads), 0, s, packs, dy, code, dx, write == Write::accumulate);
}

// Code is u8 or i32.
template <class T, class Code>
void max_pool(Stream& stream, const PoolSize& s, const T* x, T* y, Code* code) {
  if (s.c % kPack<T> == 0 && aligned16(x, y, code)) return max_pool_packs<T, kPack<T>>(stream, s, x, y, code);
  max_pool_packs<T, 1>(stream, s, x, y, code);
}

template <class T, class Code>
void max_pool_backward(Stream& stream, const PoolSize& s, const T* dy, const Code* code, T* dx, Write write) {
  if (s.c % kPack<T> == 0 && aligned16(dy, code, dx)) {
    return max_pool_backward_packs<T, kPack<T>>(stream, s, dy, code, dx, write);
  }
  max_pool_backward_packs<T, 1>(stream, s, dy, code, dx, write);
}

// Codes of 2 bits are used if a pack of channels fills whole bytes with them. Codes of a byte are 1/21 of the memory
// traffic in f32 and 1/11 in bf16; codes of 2 bits are a quarter of that.
template <class T>
constexpr int kPoolBits = kPack<T> < 4 ? 4 : kPack<T>;

template <class T>
bool takes_pool_bits(const Pool2dOptions& g, std::int64_t channels) {
  return plain_2x2(g) && channels % kPoolBits<T> == 0;
}

template <class T>
void max_pool_bits(Stream& stream, const PoolSize& s, const T* x, T* y, std::uint8_t* code) {
  constexpr int N = kPoolBits<T>;
  if (aligned16(x, y, code)) return max_pool_2x2<T, N, PlaceBits, true>(stream, s, x, y, code);
  max_pool_2x2<T, N, PlaceBits, false>(stream, s, x, y, code);
}

template <class T>
void max_pool_bits_backward(Stream& stream, const PoolSize& s, const T* dy, const std::uint8_t* code, T* dx,
                            Write write) {
  constexpr int N = kPoolBits<T>;
  if (aligned16(dy, code, dx)) return max_pool_2x2_backward<T, N, PlaceBits, true>(stream, s, dy, code, dx, write);
  max_pool_2x2_backward<T, N, PlaceBits, false>(stream, s, dy, code, dx, write);
}

}  // namespace descent::gpu
