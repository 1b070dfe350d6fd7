// Matrix product on the host. A tile of c stays in registers during a block of k; a and b are packed into panels as
// wide as the tile. Elements beyond the last row or column of a panel are computed too, and ignored.
#include "libraries/gemm.h"

#include <algorithm>
#include <vector>

namespace simulated {
namespace {

constexpr std::int64_t kColumns = 6;  // per tile
constexpr std::int64_t kDepth = 256;  // of a block of k, whose panels fit in the caches
constexpr std::int64_t kVectors = 2;  // per column of a tile

template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(32)));
  static constexpr std::int64_t kLanes = 32 / sizeof(T);
  static constexpr std::int64_t kRows = kVectors * kLanes;  // per tile
};

std::int64_t round_up(std::int64_t x, std::int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// tile [kColumns][kRows] += a [depth][kRows] b [depth][kColumns].
template <class T>
void multiply_tile(std::int64_t depth, const T* a, const T* b, T* tile) {
  using Vector = typename Simd<T>::Vector;
  constexpr std::int64_t lanes = Simd<T>::kLanes;
  Vector sums[kColumns][kVectors];
#pragma GCC unroll 6
  for (std::int64_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 2
    for (std::int64_t v = 0; v < kVectors; ++v) {
      __builtin_memcpy(&sums[j][v], tile + j * Simd<T>::kRows + v * lanes, sizeof(Vector));
    }
  }
  for (std::int64_t p = 0; p < depth; ++p) {
    Vector column[kVectors];
    __builtin_memcpy(column, a + p * Simd<T>::kRows, sizeof column);
#pragma GCC unroll 6
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const T factor = b[p * kColumns + j];
#pragma GCC unroll 2
      for (std::int64_t v = 0; v < kVectors; ++v) sums[j][v] += column[v] * factor;
    }
  }
#pragma GCC unroll 6
  for (std::int64_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 2
    for (std::int64_t v = 0; v < kVectors; ++v) {
      __builtin_memcpy(tile + j * Simd<T>::kRows + v * lanes, &sums[j][v], sizeof(Vector));
    }
  }
}

}  // namespace

template <class T>
void multiply_add(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, std::int64_t ldb, T* c) {
  constexpr std::int64_t rows = Simd<T>::kRows, tile_size = rows * kColumns;
  const std::int64_t wide = round_up(m, rows), high = round_up(n, kColumns);
  const auto size = [](std::int64_t elements) { return static_cast<std::size_t>(elements); };
  std::vector<T> first(size(wide * kDepth)), second(size(high * kDepth)), tiles(size(wide * high));
  const auto tile_at = [&](std::int64_t i, std::int64_t j) {
    return tiles.data() + (j / kColumns * (wide / rows) + i / rows) * tile_size;
  };
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; i += rows) {
      std::copy_n(c + j * m + i, std::min(rows, m - i), tile_at(i, j) + j % kColumns * rows);
    }
  }
  for (std::int64_t begin = 0; begin < k; begin += kDepth) {
    const std::int64_t depth = std::min(kDepth, k - begin);
    for (std::int64_t i = 0; i < m; i += rows) {
      for (std::int64_t p = 0; p < depth; ++p) {
        std::copy_n(a + (begin + p) * m + i, std::min(rows, m - i), first.data() + i * depth + p * rows);
      }
    }
    for (std::int64_t j = 0; j < n; ++j) {
      T* const to = second.data() + j / kColumns * kColumns * depth + j % kColumns;
      for (std::int64_t p = 0; p < depth; ++p) to[p * kColumns] = b[j * ldb + begin + p];
    }
    for (std::int64_t j = 0; j < high; j += kColumns) {
      for (std::int64_t i = 0; i < wide; i += rows) {
        multiply_tile(depth, first.data() + i * depth, second.data() + j * depth, tile_at(i, j));
      }
    }
  }
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; i += rows) {
      std::copy_n(tile_at(i, j) + j % kColumns * rows, std::min(rows, m - i), c + j * m + i);
    }
  }
}

template void multiply_add(std::int64_t, std::int64_t, std::int64_t, const float*, const float*, std::int64_t, float*);
template void multiply_add(std::int64_t, std::int64_t, std::int64_t, const double*, const double*, std::int64_t,
                           double*);

}  // namespace simulated
