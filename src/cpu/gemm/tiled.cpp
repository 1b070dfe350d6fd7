// The partition and order of work of the register-tile matrix product: pack b (and a, if its rows are not contiguous)
// into panels, then multiply. Tasks are cut by the sizes alone.
#include <algorithm>
#include <array>

#include "cpu/gemm/gemm.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kDepth = 1024;  // of one block: a panel of b this deep still streams well from the L2 cache
constexpr std::int64_t kBlockElements = 1 << 20;    // of packed b or a at once: 4 MiB of f32
constexpr std::int64_t kLeastMultiplies = 1 << 17;  // of a task: 3 microseconds of one core
constexpr std::int64_t kStripMultiplies = 1 << 19;  // of a part, at least, when a strip of one tile or panel is cut
constexpr std::int64_t kPackElements = 1 << 14;     // of a packing task
constexpr std::int64_t kOwnPanels = 24;             // from this many on, the task that multiplies a panel also packs it
constexpr std::int64_t kOwnMultiplies = 1 << 21;    // of such a panel at most, so that threads finish together

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <class T>
struct Operand {  // element (row, col) at data + row * row_stride + col * col_stride; one of the strides is 1
  const T* data;
  std::int64_t row_stride, col_stride;
  Operand transposed() const { return {data, col_stride, row_stride}; }
};

template <class T>
struct Product {  // c (+)= a b, where c(i, j) is transposed ? c[j * c_stride + i] : c[i * c_stride + j]
  std::int64_t m, n, k;
  Operand<T> a, b;
  T* c;
  std::int64_t c_stride;
  bool transposed;
  T alpha, beta;
  const T* bias;
  bool relu;
};

// Estimated time in units of one multiply-add of a lane. Measured: copying costs about 3 per element,
// transposing 7, packing tiles of a 8, writing a transposed tile 10. Tiles of fewer than 4 rows are bound by
// latency and cost as much as 4.
template <class T>
std::int64_t cost(const GemmKernels<T>& kernels, const Product<T>& p) {
  const std::int64_t tiles = ceil_div(p.m, kernels.tile);
  const std::int64_t rows = std::max(p.m, 4 * tiles);
  const std::int64_t cols = ceil_div(p.n, kernels.panel) * kernels.panel;
  std::int64_t total = rows * cols * p.k + p.k * cols * (p.b.col_stride == 1 ? 3 : 7);
  if (p.a.col_stride != 1) total += 8 * p.m * p.k;
  if (p.transposed) total += 10 * p.m * p.n;
  return total;
}

// Cuts [0, n) into pieces that shrink towards the end, down to `least`, so that threads finish together.
class Pieces {
 public:
  Pieces(std::int64_t n, std::int64_t least) {
    while (begins_[count_] < n && count_ + 1 < kMost) {
      const std::int64_t left = n - begins_[count_];
      begins_[count_ + 1] = begins_[count_] + std::min(left, std::max(least, left / 8));
      ++count_;
    }
    begins_[count_] = n;
  }
  std::int64_t count() const { return static_cast<std::int64_t>(count_); }
  std::int64_t operator[](std::int64_t i) const { return begins_[static_cast<std::size_t>(i)]; }

 private:
  static constexpr std::size_t kMost = 256;
  std::array<std::int64_t, kMost + 1> begins_{};
  std::size_t count_ = 0;
};

// A block of c and the part of its sum that is packed at once: `depth` steps of k in pieces of at most `piece`.
template <class T>
struct Section {
  const GemmKernels<T>& kernels;
  std::int64_t rows, cols, depth, piece;
  Operand<T> a, b;
  bool a_packed;
  T *packed_a, *packed_b;  // packed_b null: each task packs its own panels, which then stay in its caches
  GemmBlock<T> block;      // the fields that do not depend on k
  T beta;                  // of the first piece
  bool last;               // whether the last piece applies bias and activation

  std::int64_t panels() const { return ceil_div(cols, kernels.panel); }
  std::int64_t tiles() const { return ceil_div(rows, kernels.tile); }
  T* b_at(std::int64_t k) const { return packed_b + k * panels() * kernels.panel; }
  T* a_at(std::int64_t k) const { return packed_a + k * rows; }
  std::int64_t depth_at(std::int64_t k) const { return std::min(piece, depth - k); }

  // Packs panel q of the piece of the depth that begins at k.
  void pack_panel(std::int64_t q, std::int64_t k, T* to) const {
    const std::int64_t col = q * kernels.panel;
    kernels.pack_panel(b.data + k * b.row_stride + col * b.col_stride, b.row_stride, b.col_stride, depth_at(k),
                       std::min(kernels.panel, cols - col), to);
  }
  GemmBlock<T> block_at(std::int64_t k) const {
    GemmBlock<T> at = block;
    at.depth = depth_at(k);
    at.a = a_packed ? a_at(k) : a.data + k;
    at.beta = k == 0 ? beta : T{1};
    if (last && k + piece >= depth) return at;
    at.bias = nullptr;
    at.relu = false;
    return at;
  }
};

template <class T>
void pack(const Section<T>& s) {
  const std::int64_t panels = s.panels(), tiles = s.tiles(), pieces = ceil_div(s.depth, s.piece);
  const std::int64_t panel = s.kernels.panel, tile = s.kernels.tile;
  const std::int64_t panel_grain = std::max<std::int64_t>(1, kPackElements / (panel * s.piece));
  const std::int64_t tile_grain = std::max<std::int64_t>(1, kPackElements / (tile * s.piece));
  const std::int64_t b_tasks = s.packed_b != nullptr ? ceil_div(panels, panel_grain) : 0;
  const std::int64_t a_tasks = s.a_packed ? ceil_div(tiles, tile_grain) : 0;
  parallel_for(pieces * (b_tasks + a_tasks), [&](std::int64_t task) {
    const std::int64_t k = task % pieces * s.piece, part = task / pieces, depth = s.depth_at(k);
    if (part < b_tasks) {
      for (std::int64_t q = part * panel_grain; q < std::min(panels, (part + 1) * panel_grain); ++q) {
        s.pack_panel(q, k, s.b_at(k) + q * panel * depth);
      }
      return;
    }
    const std::int64_t first = (part - b_tasks) * tile_grain;
    for (std::int64_t t = first; t < std::min(tiles, first + tile_grain); ++t) {
      const std::int64_t row = tile_begin(s.rows, tiles, t), height = tile_begin(s.rows, tiles, t + 1) - row;
      s.kernels.pack_tile(s.a.data + row + k * s.a.col_stride, s.a.col_stride, depth, height, s.a_at(k) + row * depth);
    }
  });
}

// Multiplies tiles [tile0, tile1) by panels [panel0, panel1), over the pieces of the depth in sequence.
template <class T>
void multiply_part(const Section<T>& s, std::int64_t tile0, std::int64_t tile1, std::int64_t panel0,
                   std::int64_t panel1) {
  for (std::int64_t k = 0; k < s.depth; k += s.piece) {
    GemmBlock<T> block = s.block_at(k);
    block.b = s.b_at(k);
    s.kernels.multiply(block, tile0, tile1, panel0, panel1);
  }
}

// Tasks are pieces of the longer side, tiles or panels, times a few equal parts of the other.
template <class T>
void multiply(const Section<T>& s) {
  const std::int64_t tiles = s.tiles(), panels = s.panels();
  const bool along_tiles = tiles > panels;
  const std::int64_t strips = along_tiles ? tiles : panels, width = along_tiles ? panels : tiles;
  const std::int64_t strip = std::max<std::int64_t>(1, s.rows * s.cols * s.depth / strips);  // multiplies
  const Pieces pieces(strips, ceil_div(kLeastMultiplies, strip));
  const std::int64_t parts = std::clamp<std::int64_t>(strip / kStripMultiplies, 1, width);
  parallel_for(pieces.count() * parts, [&](std::int64_t task) {
    const std::int64_t piece = task / parts, part = task % parts;
    const std::int64_t strip0 = pieces[piece], strip1 = pieces[piece + 1];
    const std::int64_t begin = tile_begin(width, parts, part), end = tile_begin(width, parts, part + 1);
    along_tiles ? multiply_part(s, strip0, strip1, begin, end) : multiply_part(s, begin, end, strip0, strip1);
  });
}

// Tasks are pieces of the panels, each packed by the task that multiplies it.
template <class T>
void multiply_own(const Section<T>& s) {
  const std::int64_t tiles = s.tiles(), panels = s.panels(), panel = s.kernels.panel;
  const std::int64_t strip = std::max<std::int64_t>(1, s.rows * panel * s.depth);
  const Pieces pieces(panels, ceil_div(kLeastMultiplies, strip));
  parallel_for(pieces.count(), [&](std::int64_t task) {
    const Scratch<T> packed(panel * s.piece);
    for (std::int64_t q = pieces[task]; q < pieces[task + 1]; ++q) {
      const std::int64_t col = q * panel;
      for (std::int64_t k = 0; k < s.depth; k += s.piece) {
        GemmBlock<T> block = s.block_at(k);
        s.pack_panel(q, k, packed.data());
        block.b = packed.data();
        block.cols = std::min(panel, s.cols - col);
        block.c += block.transposed ? col * block.c_stride : col;
        if (block.bias != nullptr && !block.transposed) block.bias += col;
        s.kernels.multiply(block, 0, tiles, 0, 1);
      }
    }
  });
}

template <class T>
void run(const GemmKernels<T>& kernels, const Product<T>& p) {
  const std::int64_t piece = ceil_div(ceil_div(p.k, ceil_div(p.k, kDepth)), 8) * 8;
  const bool a_packed = p.a.col_stride != 1;
  const auto fit = [](std::int64_t n, std::int64_t depth, std::int64_t unit) {  // as many units as fit in a block
    return std::min(ceil_div(n, unit), std::max<std::int64_t>(1, kBlockElements / depth / unit)) * unit;
  };
  const std::int64_t cols = fit(p.n, piece, kernels.panel), rows = a_packed ? fit(p.m, piece, kernels.tile) : p.m;
  const std::int64_t depth = fit(p.k, std::max(cols, a_packed ? rows : 1), piece);
  const bool own = cols >= kOwnPanels * kernels.panel &&
                   std::min(rows, p.m) * kernels.panel * std::min(depth, p.k) <= kOwnMultiplies;
  const std::int64_t b_elements = own ? 0 : cols * std::min(depth, p.k);
  const Scratch<T> scratch(b_elements + (a_packed ? std::min(rows, p.m) * std::min(depth, p.k) : 0));
  GemmBlock<T> block;
  block.c_stride = p.c_stride;
  block.transposed = p.transposed;
  block.a_packed = a_packed;
  block.a_row = p.a.row_stride;
  block.alpha = p.alpha;
  block.relu = p.relu;
  for (std::int64_t j = 0; j < p.n; j += cols) {
    for (std::int64_t i = 0; i < p.m; i += rows) {
      block.rows = std::min(rows, p.m - i);
      block.cols = std::min(cols, p.n - j);
      block.bias = p.bias != nullptr ? p.bias + (p.transposed ? i : j) : nullptr;
      block.c = p.transposed ? p.c + j * p.c_stride + i : p.c + i * p.c_stride + j;
      for (std::int64_t k = 0; k < p.k; k += depth) {
        const Operand<T> a{p.a.data + i * p.a.row_stride + k * p.a.col_stride, p.a.row_stride, p.a.col_stride};
        const Operand<T> b{p.b.data + k * p.b.row_stride + j * p.b.col_stride, p.b.row_stride, p.b.col_stride};
        const Section<T> section{kernels,
                                 block.rows,
                                 block.cols,
                                 std::min(depth, p.k - k),
                                 piece,
                                 a,
                                 b,
                                 a_packed,
                                 scratch.data() + b_elements,
                                 own ? nullptr : scratch.data(),
                                 block,
                                 k == 0 ? p.beta : T{1},
                                 k + depth >= p.k};
        pack(section);
        own ? multiply_own(section) : multiply(section);
      }
    }
  }
}

// For m or n of 1: a linear combination of the matrix's rows, or a dot product with each of them.
template <class T>
void run_vector(const GemmKernels<T>& kernels, const GemmDesc& g, const T* matrix, bool dot, const T* x, std::int64_t n,
                const T* bias, bool bias_per_element, T* c) {
  constexpr std::int64_t kElements = 1 << 15;  // of the matrix in one task
  constexpr std::int64_t kMost = 64;           // most results of one task
  const std::int64_t grain =
      std::clamp<std::int64_t>(kElements / std::max<std::int64_t>(1, g.k) / 4 * 4, dot ? 4 : 64, kMost);
  parallel_pieces(n, grain, [&](std::int64_t begin, std::int64_t end) {
    T y[kMost];
    if (dot) {
      kernels.dot_rows(matrix + begin * g.k, x, end - begin, g.k, y);
    } else {
      kernels.combine_rows(matrix + begin, n, x, g.k, end - begin, y);
    }
    for (std::int64_t i = begin; i < end; ++i) {
      T value = static_cast<T>(g.alpha) * y[i - begin];
      if (g.beta != 0) value += static_cast<T>(g.beta) * c[i];
      if (bias != nullptr) value += bias[bias_per_element ? i : 0];
      c[i] = g.activation == Activation::relu && value < 0 ? T{0} : value;
    }
  });
}

}  // namespace

template <class T>
void gemm_tiled(const GemmKernels<T>& kernels, const GemmDesc& g, const T* a, const T* b, const T* bias, T* c) {
  if (g.m == 1) return run_vector(kernels, g, b, g.transpose_b, a, g.n, bias, true, c);
  if (g.n == 1) return run_vector(kernels, g, a, !g.transpose_a, b, g.m, bias, false, c);
  const Operand<T> of_a = g.transpose_a ? Operand<T>{a, 1, g.m} : Operand<T>{a, g.k, 1};
  const Operand<T> of_b = g.transpose_b ? Operand<T>{b, 1, g.k} : Operand<T>{b, g.n, 1};
  const T alpha = static_cast<T>(g.alpha), beta = static_cast<T>(g.beta);
  const bool relu = g.activation == Activation::relu;
  const Product<T> straight{g.m, g.n, g.k, of_a, of_b, c, g.n, false, alpha, beta, bias, relu};
  const Product<T> swapped{g.n, g.m, g.k, of_b.transposed(), of_a.transposed(), c, g.n, true, alpha, beta, bias, relu};
  run(kernels, cost(kernels, swapped) < cost(kernels, straight) ? swapped : straight);
}

template void gemm_tiled(const GemmKernels<float>&, const GemmDesc&, const float*, const float*, const float*, float*);
template void gemm_tiled(const GemmKernels<double>&, const GemmDesc&, const double*, const double*, const double*,
                         double*);

}  // namespace descent::cpu
