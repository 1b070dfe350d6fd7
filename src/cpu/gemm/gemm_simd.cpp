// Register-tile matrix product: tiles of up to kTile rows by kPanel columns stay in registers over the whole depth.
// `a` is broadcast, directly from the matrix or from packed tiles; b comes from packed panels; alpha, beta, bias and
// ReLU are applied when the tile is written. Each step of the depth takes 2 vector loads and kTile broadcasts for
// 2 * kTile multiply-adds.
#include "cpu/gemm/gemm.h"

#include "cpu/gemm/pack_simd.h"
#include "cpu/gemm/vector_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
struct Out {  // where a tile is written, and what is applied to it
  T* c;
  std::int64_t stride;
  std::int64_t cols;
  T alpha, beta;
  const T* bias;
  bool relu;
};

template <class T, int kRows>
using Accumulators = Vec<T>[kRows][kVectors];

template <class T>
[[gnu::always_inline]] inline T finish(T sum, T* c, T bias, const Out<T>& out) {
  if (out.beta != 0) sum += out.beta * *c;
  sum += bias;
  return out.relu && sum < 0 ? T{0} : sum;
}

template <class T, int kRows>
[[gnu::always_inline]] inline void write_rows(const Accumulators<T, kRows>& acc, const Out<T>& out) {
  if (out.cols == kPanel<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        T* c = out.c + i * out.stride + j * kLanes<T>;
        Vec<T> v = acc[i][j] * broadcast(out.alpha);
        if (out.beta != 0) v += load(c) * broadcast(out.beta);
        if (out.bias != nullptr) v += load(out.bias + j * kLanes<T>);
        if (out.relu) v = relu<T>(v);
        store(c, v);
      }
    }
    return;
  }
  T tile[kRows][kPanel<T>];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) store(&tile[i][j * kLanes<T>], acc[i][j] * broadcast(out.alpha));
  }
  for (int i = 0; i < kRows; ++i) {
    T* c = out.c + i * out.stride;
    for (std::int64_t j = 0; j < out.cols; ++j)
      c[j] = finish(tile[i][j], c + j, out.bias != nullptr ? out.bias[j] : 0, out);
  }
}

// Writes column j of the tile to kCount consecutive elements of row j of c.
template <class T, int kCount, int kStep>
[[gnu::always_inline]] inline void write_square(const T* tile, const T* bias, std::int64_t cols, T* c,
                                                const Out<T>& out) {
  using S = Square<T>;
  typename S::Row r[S::kSide] = {};
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) __builtin_memcpy(&r[i], tile + i * kStep, sizeof r[i]);
  S::transpose(r);
  typename S::Row b{};
  if (bias != nullptr) __builtin_memcpy(&b, bias, sizeof(T) * kCount);
#pragma GCC unroll 4
  for (int j = 0; j < S::kSide; ++j) {
    if (j >= cols) return;
    T* to = c + j * out.stride;
    if (out.beta != 0) {
      typename S::Row old{};
      __builtin_memcpy(&old, to, sizeof(T) * kCount);
      r[j] += old * out.beta;
    }
    r[j] += b;
    if (out.relu) r[j] = r[j] < typename S::Row{} ? typename S::Row{} : r[j];
    __builtin_memcpy(to, &r[j], sizeof(T) * kCount);
  }
}

template <class T, int kRows>
[[gnu::always_inline]] inline void write_columns(const Accumulators<T, kRows>& acc, const Out<T>& out) {
  constexpr int kSide = Square<T>::kSide;
  constexpr int kWhole = kRows / kSide * kSide;
  T tile[kRows][kPanel<T>];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) store(&tile[i][j * kLanes<T>], acc[i][j] * broadcast(out.alpha));
  }
  for (int j = 0; j < out.cols; j += kSide) {
    T* c = out.c + j * out.stride;
#pragma GCC unroll 4
    for (int i = 0; i < kWhole; i += kSide) {
      write_square<T, kSide, kPanel<T>>(&tile[i][j], out.bias != nullptr ? out.bias + i : nullptr, out.cols - j, c + i,
                                        out);
    }
    if constexpr (kWhole < kRows) {
      write_square<T, kRows - kWhole, kPanel<T>>(&tile[kWhole][j], out.bias != nullptr ? out.bias + kWhole : nullptr,
                                                 out.cols - j, c + kWhole, out);
    }
  }
}

// Element (i, p) of the tile of a is a[p * kRows + i] if packed, else a[i * a_row + p].
template <class T, int kRows, bool kPacked, bool kTransposed>
[[gnu::noinline]] void multiply_tile(std::int64_t depth, const T* a, std::int64_t a_row, const T* b,
                                     const Out<T>& out) {
  Accumulators<T, kRows> acc;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Vec<T>{};
  }
#pragma GCC unroll 2
  for (std::int64_t p = 0; p < depth; ++p) {
    Vec<T> row[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) row[j] = load(b + j * kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> factor = broadcast(kPacked ? a[i] : a[i * a_row]);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) acc[i][j] += factor * row[j];
    }
    b += kPanel<T>;
    a += kPacked ? kRows : 1;
  }
  if constexpr (kTransposed) {
    write_columns<T, kRows>(acc, out);
  } else {
    write_rows<T, kRows>(acc, out);
  }
}

template <class T>
using TileKernel = void (*)(std::int64_t, const T*, std::int64_t, const T*, const Out<T>&);

template <class T, bool kPacked, bool kTransposed, int kRows = kTile>
TileKernel<T> tile_kernel(std::int64_t rows) {
  if constexpr (kRows == 1) {
    return multiply_tile<T, 1, kPacked, kTransposed>;
  } else {
    return rows == kRows ? multiply_tile<T, kRows, kPacked, kTransposed>
                         : tile_kernel<T, kPacked, kTransposed, kRows - 1>(rows);
  }
}

template <class T>
TileKernel<T> tile_kernel(bool packed, bool transposed, std::int64_t rows) {
  if (packed) return transposed ? tile_kernel<T, true, true>(rows) : tile_kernel<T, true, false>(rows);
  return transposed ? tile_kernel<T, false, true>(rows) : tile_kernel<T, false, false>(rows);
}

template <class T>
void multiply(const GemmBlock<T>& g, std::int64_t tile0, std::int64_t tile1, std::int64_t panel0, std::int64_t panel1) {
  const std::int64_t tiles = (g.rows + kTile - 1) / kTile;
  // Tiles have one of two heights.
  const std::int64_t low = g.rows / tiles;
  const TileKernel<T> kernels[2] = {tile_kernel<T>(g.a_packed, g.transposed, low),
                                    tile_kernel<T>(g.a_packed, g.transposed, low < kTile ? low + 1 : low)};
  Out<T> out{nullptr, g.c_stride, 0, g.alpha, g.beta, nullptr, g.relu};
  for (std::int64_t q = panel0; q < panel1; ++q) {
    const std::int64_t col = q * kPanel<T>;
    out.cols = g.cols - col < kPanel<T> ? g.cols - col : kPanel<T>;
    for (std::int64_t t = tile0; t < tile1; ++t) {
      const std::int64_t row = tile_begin(g.rows, tiles, t);
      const std::int64_t height = tile_begin(g.rows, tiles, t + 1) - row;
      out.c = g.transposed ? g.c + col * g.c_stride + row : g.c + row * g.c_stride + col;
      if (g.bias != nullptr) out.bias = g.bias + (g.transposed ? row : col);
      const T* a = g.a_packed ? g.a + row * g.depth : g.a + row * g.a_row;
      kernels[height - low](g.depth, a, g.a_row, g.b + col * g.depth, out);
    }
  }
}

template <class T>
constexpr GemmKernels<T> kTable{kTile,        kPanel<T>,   multiply<T>,    pack_panel<T>,
                                pack_tile<T>, dot_rows<T>, combine_rows<T>};

}  // namespace

extern constexpr GemmKernels<float> gemm_f32 = kTable<float>;
extern constexpr GemmKernels<double> gemm_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
