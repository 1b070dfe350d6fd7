// The convolution's register tile: kRows pixels by kVectors vectors of channels stay in registers over the whole
// depth. The pixels' inputs are broadcast directly from the image, the weights come from a packed panel. Each step of
// the depth takes kRows + kVectors loads for kRows * kVectors multiply-adds.
#include "cpu/conv/kernels_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

// A single vector of channels needs more pixels to keep the multiply-add units busy.
constexpr int kMostRows = 8;
constexpr std::int64_t most_rows(std::int64_t vectors) { return vectors == 1 ? kMostRows : 6; }

// ReLU if the floor is 0, no change if it is -infinity; NaN passes.
template <class T>
[[gnu::always_inline]] inline Vec<T> at_least(Vec<T> v, Vec<T> floor) {
  return v < floor ? floor : v;
}

template <class T, int kRows, int kVectors>
struct Tile {
  Vec<T> sum[kRows][kVectors];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Vec<T>{};
    }
  }

  [[gnu::always_inline]] void add(const Tile& other) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] += other.sum[i][v];
    }
  }

  // Adds one segment; returns the position in the panel after it.
  [[gnu::always_inline]] const T* multiply(const T* const (&a)[kRows], std::int64_t length, const T* b) {
    for (std::int64_t k = 0; k < length; ++k) {
      Vec<T> weights[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) weights[v] = load(b + v * kLanes<T>);
      b += kVectors * kLanes<T>;
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> x = broadcast(a[i][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += x * weights[v];
      }
    }
    return b;
  }

  // The same for all segments if each has one element.
  [[gnu::always_inline]] const T* multiply_single(const T* const (&a)[kRows], const std::int32_t* segment,
                                                  std::int64_t segments, const T* b) {
    for (std::int64_t s = 0; s < segments; ++s) {
      const std::int64_t k = segment[s];
      Vec<T> weights[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) weights[v] = load(b + v * kLanes<T>);
      b += kVectors * kLanes<T>;
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> x = broadcast(a[i][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += x * weights[v];
      }
    }
    return b;
  }

  [[gnu::always_inline]] void write(const ConvTileJob<T>& job, std::int64_t pixel) const {
    const Vec<T> floor = broadcast(job.floor);
    Vec<T> bias[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) bias[v] = load(job.bias + v * kLanes<T>);
    if (job.channels == kVectors * kLanes<T> && !job.accumulate) {
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        T* c = job.c + job.c_offset[pixel + i];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) store(c + v * kLanes<T>, at_least<T>(sum[i][v] + bias[v], floor));
      }
      return;
    }
    T tile[kRows][kVectors * kLanes<T>];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) store(&tile[i][v * kLanes<T>], at_least<T>(sum[i][v] + bias[v], floor));
    }
    for (int i = 0; i < kRows; ++i) {
      T* c = job.c + job.c_offset[pixel + i];
      if (job.accumulate) {
        for (std::int64_t j = 0; j < job.channels; ++j) c[j] += tile[i][j];
      } else {
        for (std::int64_t j = 0; j < job.channels; ++j) c[j] = tile[i][j];
      }
    }
  }
};

template <class T, int kRows, int kVectors>
[[gnu::noinline]] void one_tile(const ConvTileJob<T>& job, std::int64_t pixel) {
  const T* begin[kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) begin[i] = job.a + job.a_offset[pixel + i];
  Tile<T, kRows, kVectors> tile;
  tile.clear();
  if (job.length == 1) {
    tile.multiply_single(begin, job.segment, job.segments, job.b);
    return tile.write(job, pixel);
  }
  const T* b = job.b;
  for (std::int64_t s = 0; s < job.segments; ++s) {
    const T* a[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) a[i] = begin[i] + job.segment[s];
    b = tile.multiply(a, job.length, b);
  }
  tile.write(job, pixel);
}

// As above, but the chain is cut after each segment that completes kLongestChain products.
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void one_deep_tile(const ConvTileJob<T>& job, std::int64_t pixel) {
  Tile<T, kRows, kVectors> total, tile;
  total.clear();
  const T* b = job.b;
  for (std::int64_t s = 0; s < job.segments;) {
    tile.clear();
    for (std::int64_t chain = 0; s < job.segments && chain < kLongestChain; chain += job.length, ++s) {
      const T* a[kRows];
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) a[i] = job.a + job.a_offset[pixel + i] + job.segment[s];
      b = tile.multiply(a, job.length, b);
    }
    total.add(tile);
  }
  total.write(job, pixel);
}

template <class T, int kRows, int kVectors>
void call(const ConvTileJob<T>& job, std::int64_t pixel, std::int64_t rows) {
  if constexpr (kRows > most_rows(kVectors)) {
    call<T, kRows - 1, kVectors>(job, pixel, rows);
  } else if (rows == kRows) {
    if (job.segments * job.length > kLongestChain) {
      one_deep_tile<T, kRows, kVectors>(job, pixel);
    } else {
      one_tile<T, kRows, kVectors>(job, pixel);
    }
  } else if constexpr (kRows > 1) {
    call<T, kRows - 1, kVectors>(job, pixel, rows);
  }
}

template <class T, int kVectors>
void run(const ConvTileJob<T>& job) {
  if constexpr (kVectors < kPanelVectors) {
    if (job.vectors > kVectors) return run<T, kVectors + 1>(job);
  }
  const std::int64_t tiles = (job.pixels + most_rows(kVectors) - 1) / most_rows(kVectors);
  const std::int64_t rows = job.pixels / tiles, larger = job.pixels % tiles;
  std::int64_t pixel = 0;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t here = rows + (t < larger ? 1 : 0);
    call<T, kMostRows, kVectors>(job, pixel, here);
    pixel += here;
  }
}

}  // namespace

template <class T>
void conv_tile(const ConvTileJob<T>& job) {
  if (job.pixels > 0) run<T, 1>(job);
}

template void conv_tile<float>(const ConvTileJob<float>&);
template void conv_tile<double>(const ConvTileJob<double>&);

}  // namespace descent::cpu::DESCENT_SIMD
