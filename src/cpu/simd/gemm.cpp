// Register-tile matrix product: tiles of up to kTile rows times kPanel columns stay in registers over the whole depth;
// a is read where it lies by broadcast or from packed tiles, b from packed panels; alpha, beta, bias and ReLU are
// applied on the way out. Read rates: per step of depth 2 vectors and kTile broadcasts for 2 * kTile fused
// multiply-adds.
#include "cpu/gemm.h"

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

constexpr int kVectors = 2;
constexpr int kTile = kVectorBytes == 64 ? 12 : 6;  // 12 or 24 accumulators of the 16 or 32 registers
template <class T>
constexpr int kPanel = kVectors* kLanes<T>;

template <class T>
struct Out {  // where a tile goes and what is done on the way
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

// Squares of 16 bytes a side, on which transposing costs the fewest shuffles.
template <class T>
struct Square;
template <>
struct Square<float> {
  static constexpr int kSide = 4;
  using Row [[gnu::vector_size(16)]] = float;
  using Order [[gnu::vector_size(16)]] = std::int32_t;
  [[gnu::always_inline]] static void transpose(Row (&r)[4]) {
    const Row a = __builtin_shuffle(r[0], r[1], Order{0, 4, 1, 5}),
              b = __builtin_shuffle(r[2], r[3], Order{0, 4, 1, 5});
    const Row c = __builtin_shuffle(r[0], r[1], Order{2, 6, 3, 7}),
              d = __builtin_shuffle(r[2], r[3], Order{2, 6, 3, 7});
    r[0] = __builtin_shuffle(a, b, Order{0, 1, 4, 5});
    r[1] = __builtin_shuffle(a, b, Order{2, 3, 6, 7});
    r[2] = __builtin_shuffle(c, d, Order{0, 1, 4, 5});
    r[3] = __builtin_shuffle(c, d, Order{2, 3, 6, 7});
  }
};
template <>
struct Square<double> {
  static constexpr int kSide = 2;
  using Row [[gnu::vector_size(16)]] = double;
  using Order [[gnu::vector_size(16)]] = std::int64_t;
  [[gnu::always_inline]] static void transpose(Row (&r)[2]) {
    const Row a = __builtin_shuffle(r[0], r[1], Order{0, 2}), b = __builtin_shuffle(r[0], r[1], Order{1, 3});
    r[0] = a;
    r[1] = b;
  }
};

// Column j of the tile goes to kCount consecutive elements of row j of c.
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

// a advances by kAcross elements from row to row of the tile when it is packed, by a_row when it is not.
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

// Transposes a square of 16-byte rows, or of 32-byte rows where these exist: fewer stores per element.
#if defined(__AVX2__)
template <class T>
struct Block {
  static constexpr int kSide = 32 / sizeof(T);
  using Row [[gnu::vector_size(32)]] = T;
  using Order [[gnu::vector_size(32)]] = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

  // Squares of half the side inside each half of a row first, then the halves change places.
  [[gnu::always_inline]] static void transpose(Row (&r)[kSide]) {
    if constexpr (kSide == 8) {
      Row a[8], b[8];
#pragma GCC unroll 4
      for (int i = 0; i < 8; i += 2) {
        a[i] = __builtin_shuffle(r[i], r[i + 1], Order{0, 8, 1, 9, 4, 12, 5, 13});
        a[i + 1] = __builtin_shuffle(r[i], r[i + 1], Order{2, 10, 3, 11, 6, 14, 7, 15});
      }
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          b[i + 2 * j] = __builtin_shuffle(a[i + j], a[i + 2 + j], Order{0, 1, 8, 9, 4, 5, 12, 13});
          b[i + 2 * j + 1] = __builtin_shuffle(a[i + j], a[i + 2 + j], Order{2, 3, 10, 11, 6, 7, 14, 15});
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        r[i] = __builtin_shuffle(b[i], b[i + 4], Order{0, 1, 2, 3, 8, 9, 10, 11});
        r[i + 4] = __builtin_shuffle(b[i], b[i + 4], Order{4, 5, 6, 7, 12, 13, 14, 15});
      }
    } else {
      const Row a = __builtin_shuffle(r[0], r[1], Order{0, 4, 2, 6}),
                b = __builtin_shuffle(r[0], r[1], Order{1, 5, 3, 7});
      const Row c = __builtin_shuffle(r[2], r[3], Order{0, 4, 2, 6}),
                d = __builtin_shuffle(r[2], r[3], Order{1, 5, 3, 7});
      r[0] = __builtin_shuffle(a, c, Order{0, 1, 4, 5});
      r[1] = __builtin_shuffle(b, d, Order{0, 1, 4, 5});
      r[2] = __builtin_shuffle(a, c, Order{2, 3, 6, 7});
      r[3] = __builtin_shuffle(b, d, Order{2, 3, 6, 7});
    }
  }
};
#else
template <class T>
using Block = Square<T>;
#endif

// `rows` rows of a block, at most its side, become columns; the others count as 0.
template <class T, bool kWhole>
[[gnu::always_inline]] inline void transpose_block(const T* from, std::int64_t stride, std::int64_t rows, T* to) {
  constexpr int kSide = Block<T>::kSide;
  typename Block<T>::Row r[kSide];
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) {
    if (kWhole || i < rows) {
      __builtin_memcpy(&r[i], from + i * stride, sizeof r[i]);
    } else {
      r[i] = typename Block<T>::Row{};
    }
  }
  Block<T>::transpose(r);
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) __builtin_memcpy(to + i * kPanel<T>, &r[i], sizeof r[i]);
}

template <class T>
void pack_panel(const T* from, std::int64_t stride_p, std::int64_t stride_j, std::int64_t depth, std::int64_t cols,
                T* to) {
  constexpr int kSide = Block<T>::kSide;
  if (cols == kPanel<T> && stride_j == 1) {
    for (std::int64_t p = 0; p < depth; ++p) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        store(to + p * kPanel<T> + j * kLanes<T>, load(from + p * stride_p + j * kLanes<T>));
      }
    }
    return;
  }
  std::int64_t p = 0;
  if (stride_p == 1) {
    for (; p + kSide <= depth; p += kSide) {
      for (int j = 0; j < kPanel<T>; j += kSide) {
        if (j + kSide <= cols) {
          transpose_block<T, true>(from + j * stride_j + p, stride_j, kSide, to + p * kPanel<T> + j);
        } else {
          transpose_block<T, false>(from + j * stride_j + p, stride_j, cols - j, to + p * kPanel<T> + j);
        }
      }
    }
  }
  for (; p < depth; ++p) {
    for (std::int64_t j = 0; j < kPanel<T>; ++j) {
      to[p * kPanel<T> + j] = j < cols ? from[p * stride_p + j * stride_j] : T{0};
    }
  }
}

template <class T, int kHeight>
void pack_tile_of(const T* from, std::int64_t stride_p, std::int64_t depth, T* to) {
  for (std::int64_t p = 0; p < depth; ++p) __builtin_memcpy(to + p * kHeight, from + p * stride_p, sizeof(T) * kHeight);
}

template <class T, int kHeight = kTile>
void pack_tile(const T* from, std::int64_t stride_p, std::int64_t depth, std::int64_t height, T* to) {
  if constexpr (kHeight > 1) {
    if (height < kHeight) return pack_tile<T, kHeight - 1>(from, stride_p, depth, height, to);
  }
  pack_tile_of<T, kHeight>(from, stride_p, depth, to);
}

template <class T>
[[gnu::always_inline]] inline T sum_lanes(Vec<T> v) {
  T sum = 0;
  for (int i = 0; i < kLanes<T>; ++i) sum += v[i];
  return sum;
}

// kRows dot products at once; each is summed in the same order whatever kRows is.
template <class T, int kRows>
[[gnu::always_inline]] inline void dot_some(const T* w, const T* x, std::int64_t k, T* y) {
  Vec<T> acc[kRows][2] = {};
  std::int64_t p = 0;
  for (; p + 2 * kLanes<T> <= k; p += 2 * kLanes<T>) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      acc[i][0] += load(w + i * k + p) * load(x + p);
      acc[i][1] += load(w + i * k + p + kLanes<T>) * load(x + p + kLanes<T>);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    T sum = sum_lanes<T>(acc[i][0] + acc[i][1]);
    for (std::int64_t q = p; q < k; ++q) sum += w[i * k + q] * x[q];
    y[i] = sum;
  }
}

template <class T>
void dot_rows(const T* w, const T* x, std::int64_t rows, std::int64_t k, T* y) {
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4) dot_some<T, 4>(w + i * k, x, k, y + i);
  for (; i < rows; ++i) dot_some<T, 1>(w + i * k, x, k, y + i);
}

template <class T>
void combine_rows(const T* w, std::int64_t stride, const T* x, std::int64_t k, std::int64_t cols, T* y) {
  constexpr int kWide = 8;
  std::int64_t j = 0;
  for (; j + kWide * kLanes<T> <= cols; j += kWide * kLanes<T>) {
    Vec<T> acc[kWide] = {};
    for (std::int64_t p = 0; p < k; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < kWide; ++i) acc[i] += broadcast(x[p]) * load(w + p * stride + j + i * kLanes<T>);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kWide; ++i) store(y + j + i * kLanes<T>, acc[i]);
  }
  for (; j < cols; j += kLanes<T>) {
    const std::int64_t n = cols - j < kLanes<T> ? cols - j : kLanes<T>;
    Vec<T> acc{};
    for (std::int64_t p = 0; p < k; ++p) {
      const T* row = w + p * stride + j;
      acc += broadcast(x[p]) * (n == kLanes<T> ? load(row) : load_first(row, n));
    }
    n == kLanes<T> ? store(y + j, acc) : store_first(y + j, acc, n);
  }
}

template <class T>
constexpr GemmKernels<T> kTable{kTile,        kPanel<T>,   multiply<T>,    pack_panel<T>,
                                pack_tile<T>, dot_rows<T>, combine_rows<T>};

}  // namespace

extern constexpr GemmKernels<float> gemm_f32 = kTable<float>;
extern constexpr GemmKernels<double> gemm_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
