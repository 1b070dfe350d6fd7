// The weight gradient as a sum of outer products: kRows elements of the patch by kVectors vectors of output channels
// stay in registers over all pixels of the block.
#include "cpu/conv/kernels_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

constexpr int kMostRows = 8;
constexpr std::int64_t most_rows(std::int64_t vectors) { return vectors == 1 ? kMostRows : 6; }

template <class T, int kRows, int kVectors>
[[gnu::noinline]] void one_tile(const ConvFilterJob<T>& job, std::int64_t k) {
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Vec<T>{};
  }
  const T* dy = job.dy;
  for (std::int64_t r = 0; r < job.rows; ++r) {
    const T* x[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) x[i] = job.x + r * job.x_row + job.k_offset[k + i];
    std::int64_t place = 0;
    for (std::int64_t c = 0; c < job.columns; ++c) {
      Vec<T> gradient[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) gradient[v] = load(dy + v * kLanes<T>);
      dy += kVectors * kLanes<T>;
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> value = broadcast(x[i][place]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += value * gradient[v];
      }
      place += job.x_column;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    T* to = job.partial + (k + i) * kVectors * kLanes<T>;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(to + v * kLanes<T>, load(to + v * kLanes<T>) + sum[i][v]);
  }
}

template <class T, int kRows, int kVectors>
void call(const ConvFilterJob<T>& job, std::int64_t k, std::int64_t rows) {
  if constexpr (kRows > most_rows(kVectors)) {
    call<T, kRows - 1, kVectors>(job, k, rows);
  } else if (rows == kRows) {
    one_tile<T, kRows, kVectors>(job, k);
  } else if constexpr (kRows > 1) {
    call<T, kRows - 1, kVectors>(job, k, rows);
  }
}

template <class T, int kVectors>
void run(const ConvFilterJob<T>& job) {
  if constexpr (kVectors < kPanelVectors) {
    if (job.vectors > kVectors) return run<T, kVectors + 1>(job);
  }
  const std::int64_t tiles = (job.depth + most_rows(kVectors) - 1) / most_rows(kVectors);
  const std::int64_t rows = job.depth / tiles, larger = job.depth % tiles;
  std::int64_t k = 0;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t here = rows + (t < larger ? 1 : 0);
    call<T, kMostRows, kVectors>(job, k, here);
    k += here;
  }
}

}  // namespace

template <class T>
void conv_filter(const ConvFilterJob<T>& job) {
  if (job.depth > 0) run<T, 1>(job);
}

template <class T>
void conv_gather(const T* from, std::int64_t stride, std::int64_t channels, std::int64_t pixels, T* to) {
  const std::int64_t whole = channels / kLanes<T> * kLanes<T>;
  for (std::int64_t i = 0; i < pixels; ++i, from += stride) {
    for (std::int64_t j = 0; j < whole; j += kLanes<T>, to += kLanes<T>) store(to, load(from + j));
    if (whole < channels) {
      store(to, load_first(from + whole, channels - whole));
      to += kLanes<T>;
    }
  }
}

template void conv_gather<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void conv_gather<double>(const double*, std::int64_t, std::int64_t, std::int64_t, double*);
template void conv_filter<float>(const ConvFilterJob<float>&);
template void conv_filter<double>(const ConvFilterJob<double>&);

}  // namespace descent::cpu::DESCENT_SIMD
