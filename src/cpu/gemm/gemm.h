// Matrix products on the CPU: a register-tile product with packed panels, and its kernels, one table per SIMD level.
// Each element of a tiled product is one chain of multiply-adds (fused if the level has FMA) over k in ascending order
// (per block of k), so its bits depend neither on the threads nor on the partition.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backend/backend.h"
#include "cpu/simd/level.h"

namespace descent::cpu {

// One block of c = activation(alpha a b + beta c + bias): `depth` steps of k; b is packed in
// panels of `panel` columns.
template <class T>
struct GemmBlock {
  std::int64_t rows = 0, cols = 0, depth = 0;
  // Element (i, p): a[i * a_row + p]. If packed: tile by tile, [p][height], the tile at row r from a + r * depth.
  const T* a = nullptr;
  std::int64_t a_row = 0;
  bool a_packed = false;
  const T* b = nullptr;  // panel q begins at b + q * panel * depth, [p][panel]
  T* c = nullptr;        // element (i, j): transposed ? c[j * c_stride + i] : c[i * c_stride + j]
  std::int64_t c_stride = 0;
  bool transposed = false;
  T alpha = 1, beta = 0;    // c is not read if beta is 0
  const T* bias = nullptr;  // per column, or per row if transposed; or null
  bool relu = false;
};

template <class T>
struct GemmKernels {
  std::int64_t tile;   // most rows of a tile; a block of m rows has ceil(m / tile) tiles of nearly equal height
  std::int64_t panel;  // columns of a panel
  // Tiles [tile0, tile1) times panels [panel0, panel1) of the block.
  void (*multiply)(const GemmBlock<T>& block, std::int64_t tile0, std::int64_t tile1, std::int64_t panel0,
                   std::int64_t panel1);
  // Element (p, j) of the source is from[p * stride_p + j * stride_j], where one of the strides is 1;
  // missing columns become 0.
  void (*pack_panel)(const T* from, std::int64_t stride_p, std::int64_t stride_j, std::int64_t depth, std::int64_t cols,
                     T* to);
  // Element (i, p) of the source is from[p * stride_p + i], i < height.
  void (*pack_tile)(const T* from, std::int64_t stride_p, std::int64_t depth, std::int64_t height, T* to);
  // y[i] = sum over p of w[i * k + p] x[p] for i < rows.
  void (*dot_rows)(const T* w, const T* x, std::int64_t rows, std::int64_t k, T* y);
  // y[j] = sum over p of x[p] w[p * stride + j] for j < cols.
  void (*combine_rows)(const T* w, std::int64_t stride, const T* x, std::int64_t k, std::int64_t cols, T* y);
};

// The first row of tile t of `tiles` over `rows` rows.
[[gnu::always_inline]] constexpr std::int64_t tile_begin(std::int64_t rows, std::int64_t tiles, std::int64_t t) {
  return rows * t / tiles;
}

DESCENT_SIMD_TABLE(GemmKernels<float>, gemm_f32)
DESCENT_SIMD_TABLE(GemmKernels<double>, gemm_f64)

// The table of the running SIMD level.
template <class T>
const GemmKernels<T>& gemm_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return gemm_f32();
  } else {
    return gemm_f64();
  }
}

// c = activation(alpha op(a) op(b) + beta c + bias) for one matrix: the fast path, and the reference implementation.
template <class T>
void gemm_tiled(const GemmKernels<T>& kernels, const GemmDesc& g, const T* a, const T* b, const T* bias, T* c);
template <class T>
void gemm_reference(const GemmDesc& g, const T* a, const T* b, const T* bias, T* c);

}  // namespace descent::cpu
