// The register-tile matrix product, its partition and its order of work: pack b (and a, if its rows are not contiguous)
// into panels, then multiply. Tasks are cut by the sizes alone.
#include <algorithm>

#include "cpu/gemm.h"
#include "cpu/scratch.h"
#include "cpu/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kDepth = 1024;  // of one block: a panel of b that deep still streams well from the L2 cache
constexpr std::int64_t kBlockElements = 1 << 20;   // of packed b or a at once: 4 MiB of f32
constexpr std::int64_t kTaskMultiplies = 1 << 20;  // about 20 microseconds of one core
constexpr std::int64_t kTasks = 16;
constexpr std::int64_t kPackElements = 1 << 14;  // of one packing task

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

// Estimated time in units of one multiply-add of a lane. Measured: copying costs about 3 per element, transposing 7,
// packing tiles of a 8, writing a transposed tile 10. Tiles of fewer than 4 rows wait for their own sums.
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

// Packs the panels of b, and the tiles of a if its rows are not contiguous.
template <class T>
void pack(const GemmKernels<T>& kernels, const GemmBlock<T>& block, const Operand<T>& a, const Operand<T>& b,
          T* packed_a, T* packed_b) {
  const std::int64_t panels = ceil_div(block.cols, kernels.panel);
  const std::int64_t panels_per_task = std::max<std::int64_t>(1, kPackElements / (kernels.panel * block.depth));
  const std::int64_t b_tasks = ceil_div(panels, panels_per_task);
  const std::int64_t tiles = ceil_div(block.rows, kernels.tile);
  const std::int64_t tiles_per_task = std::max<std::int64_t>(1, kPackElements / (kernels.tile * block.depth));
  const std::int64_t a_tasks = block.a_packed ? ceil_div(tiles, tiles_per_task) : 0;
  parallel_for(b_tasks + a_tasks, [&](std::int64_t task) {
    if (task < b_tasks) {
      for (std::int64_t q = task * panels_per_task; q < std::min(panels, (task + 1) * panels_per_task); ++q) {
        const std::int64_t col = q * kernels.panel;
        kernels.pack_panel(b.data + col * b.col_stride, b.row_stride, b.col_stride, block.depth,
                           std::min(kernels.panel, block.cols - col), packed_b + col * block.depth);
      }
      return;
    }
    task -= b_tasks;
    for (std::int64_t t = task * tiles_per_task; t < std::min(tiles, (task + 1) * tiles_per_task); ++t) {
      const std::int64_t row = tile_begin(block.rows, tiles, t);
      kernels.pack_tile(a.data + row, a.col_stride, block.depth, tile_begin(block.rows, tiles, t + 1) - row,
                        packed_a + row * block.depth);
    }
  });
}

template <class T>
void multiply(const GemmKernels<T>& kernels, const GemmBlock<T>& block) {
  const std::int64_t panels = ceil_div(block.cols, kernels.panel);
  const std::int64_t tiles = ceil_div(block.rows, kernels.tile);
  const std::int64_t work = block.rows * block.cols * block.depth;
  const std::int64_t tasks = std::clamp<std::int64_t>(work / kTaskMultiplies, 1, kTasks);
  const std::int64_t row_tasks =
      std::clamp<std::int64_t>(tiles / 5, 1, tasks);  // a panel serves at least 5 tiles from L1
  const std::int64_t col_tasks = std::min(panels, ceil_div(tasks, row_tasks));
  parallel_for(row_tasks * col_tasks, [&](std::int64_t task) {
    const std::int64_t r = task % row_tasks, q = task / row_tasks;
    kernels.multiply(block, tile_begin(tiles, row_tasks, r), tile_begin(tiles, row_tasks, r + 1),
                     tile_begin(panels, col_tasks, q), tile_begin(panels, col_tasks, q + 1));
  });
}

template <class T>
void run(const GemmKernels<T>& kernels, const Product<T>& p) {
  const std::int64_t depths = ceil_div(p.k, kDepth);
  const std::int64_t depth = ceil_div(ceil_div(p.k, depths), 8) * 8;
  const std::int64_t most = kBlockElements / depth;
  const std::int64_t cols = most / kernels.panel * kernels.panel, rows = most / kernels.tile * kernels.tile;
  const bool a_packed = p.a.col_stride != 1;
  const std::int64_t b_elements = std::min(cols, ceil_div(p.n, kernels.panel) * kernels.panel) * depth;
  const std::int64_t a_elements = a_packed ? std::min(rows, p.m) * depth : 0;
  const Scratch<T> scratch(a_elements + b_elements);
  T* const packed_b = scratch.data();
  T* const packed_a = packed_b + b_elements;
  GemmBlock<T> block;
  block.c_stride = p.c_stride;
  block.transposed = p.transposed;
  block.a_packed = a_packed;
  block.a_row = p.a.row_stride;
  block.alpha = p.alpha;
  block.b = packed_b;
  for (std::int64_t j = 0; j < p.n; j += cols) {
    for (std::int64_t k = 0; k < p.k; k += depth) {
      for (std::int64_t i = 0; i < p.m; i += rows) {
        const bool last = k + depth >= p.k;
        block.rows = std::min(rows, p.m - i);
        block.cols = std::min(cols, p.n - j);
        block.depth = std::min(depth, p.k - k);
        block.beta = k == 0 ? p.beta : T{1};
        block.relu = last && p.relu;
        block.bias = last && p.bias != nullptr ? p.bias + (p.transposed ? i : j) : nullptr;
        block.c = p.transposed ? p.c + j * p.c_stride + i : p.c + i * p.c_stride + j;
        const Operand<T> a{p.a.data + i * p.a.row_stride + k * p.a.col_stride, p.a.row_stride, p.a.col_stride};
        const Operand<T> b{p.b.data + k * p.b.row_stride + j * p.b.col_stride, p.b.row_stride, p.b.col_stride};
        block.a = a_packed ? packed_a : a.data;
        pack(kernels, block, a, b, packed_a, packed_b);
        multiply(kernels, block);
      }
    }
  }
}

// One row or one column: a sum over the rows of the matrix, or a dot product with each of them.
template <class T>
void run_vector(const GemmKernels<T>& kernels, const Gemm& g, const T* matrix, bool dot, const T* x, std::int64_t n,
                const T* bias, bool bias_per_element, T* c) {
  constexpr std::int64_t kElements = 1 << 15;  // of the matrix in one task
  constexpr std::int64_t kMost = 64;           // results of one task
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
void gemm_tiled(const GemmKernels<T>& kernels, const Gemm& g, const T* a, const T* b, const T* bias, T* c) {
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

template void gemm_tiled(const GemmKernels<float>&, const Gemm&, const float*, const float*, const float*, float*);
template void gemm_tiled(const GemmKernels<double>&, const Gemm&, const double*, const double*, const double*, double*);

}  // namespace descent::cpu
