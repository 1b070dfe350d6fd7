// Column sums; those of eight vectors of columns stay in registers. One conversion and one addition per 4 bytes read.
#include "cpu/reduce/kernels.h"

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

constexpr int kWide = kLanes<double>;  // columns of a vector of sums
using Half [[gnu::vector_size(kVectorBytes / 2)]] = float;

template <int kVectors>
[[gnu::always_inline]] inline void add_block(const float* x, std::int64_t stride, std::int64_t rows, double* sums) {
  Vec<double> sum[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sum[v] = load(sums + v * kWide);
  for (std::int64_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Half part;
      __builtin_memcpy(&part, x + i * stride + v * kWide, sizeof part);
      sum[v] += __builtin_convertvector(part, Vec<double>);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) store(sums + v * kWide, sum[v]);
}

void add_columns(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t width, double* sums) {
  std::int64_t j = 0;
  for (; j + 8 * kWide <= width; j += 8 * kWide) add_block<8>(x + j, stride, rows, sums + j);
  for (; j + kWide <= width; j += kWide) add_block<1>(x + j, stride, rows, sums + j);
  for (; j < width; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) sums[j] += static_cast<double>(x[i * stride + j]);
  }
}

}  // namespace

extern const ReduceKernels reduce_kernels;
const ReduceKernels reduce_kernels{add_columns};

}  // namespace descent::cpu::DESCENT_SIMD
