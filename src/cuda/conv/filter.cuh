// The gradients of the filter and the bias: for each output channel and filter element, the sum over all output pixels.
// Each block handles a range of pixels and writes partial sums; a second kernel adds these in order. The number of
// ranges, and so the order of the sums, depends only on the shape.
#pragma once

#include <algorithm>

#include "cuda/accumulate.cuh"
#include "cuda/conv/target.cuh"

namespace descent::gpu {

// A block's tile has rows (output channels) and columns (filter elements, then one column of ones that gives the bias).
// A thread sums 8 x 4 of its elements, four rows in each half of the tile. If a tile has too few of these for all
// threads of a block, the threads form slices that each take every slices-th pixel.
//
// In shared memory a step is [half][pixel][rows / 2] of the gradient, then [pixel][columns] of the source, so that
// neighbouring threads, in one slice or the next, read neighbouring quads.
struct ConvFilterPlan {
  static constexpr int kThreads = 128, kQuads = 4;  // quads per thread and step
  int depth = 0, width = 0;                         // elements of one filter; columns of all tiles
  int rows = 0, columns = 0, row_tiles = 0, column_tiles = 0;
  int slices = 0;
  int pixels = 0;                                      // per step
  int half = 0;                                        // offset of the second half of the gradient's rows, in elements
  int step_image = 0, step_down = 0, step_across = 0;  // `pixels` as images, rows and single pixels
  int chain_steps = 0;
  int splits = 0;
  std::int64_t split_pixels = 0;

  __host__ __device__ int source() const { return 2 * half; }                   // offset of the source
  __host__ __device__ int step() const { return source() + pixels * columns; }  // elements
  std::int64_t partials(const ConvShape& s) const { return s.out_channels * width; }
};

inline ConvFilterPlan conv_filter_plan(const ConvShape& s, bool with_bias) {
  constexpr int kTile = 64;
  constexpr std::int64_t kBlocks = 256, kLeastSteps = 4;
  const auto cut = [](std::int64_t size, int unit, int& tile, int& tiles) {  // into tiles of equal size
    tiles = static_cast<int>(std::max<std::int64_t>(1, divide_up(size, kTile)));
    tile = static_cast<int>(std::max<std::int64_t>(1, divide_up(divide_up(size, tiles), unit))) * unit;
  };
  ConvFilterPlan p;
  p.depth = static_cast<int>(s.filter());
  p.width = p.depth + (with_bias ? 1 : 0);
  cut(s.out_group(), 8, p.rows, p.row_tiles);
  cut(p.width, 4, p.columns, p.column_tiles);
  p.slices = p.kThreads / (p.rows / 8 * (p.columns / 4));
  p.pixels = p.kThreads * p.kQuads * 4 / (p.rows + p.columns) / p.slices * p.slices;
  p.half = p.pixels * p.rows / 2;
  p.half += ((p.rows / 2 - p.half) % 32 + 32) % 32;  // puts a pixel's two halves on neighbouring banks

  const std::int64_t all = s.images * s.out_height * s.out_width,
                     tiles = s.geometry.groups * p.row_tiles * p.column_tiles;
  const std::int64_t splits =
      std::clamp<std::int64_t>(kBlocks / tiles, 1, std::max<std::int64_t>(1, all / (kLeastSteps * p.pixels)));
  p.split_pixels = std::max<std::int64_t>(1, divide_up(divide_up(all, splits), p.pixels)) * p.pixels;
  p.splits = static_cast<int>(std::max<std::int64_t>(1, divide_up(all, p.split_pixels)));
  const int chain = conv_chain(static_cast<int>(std::min<std::int64_t>(p.split_pixels / p.slices, 1 << 29)));
  p.chain_steps = std::max(1, chain / (p.pixels / p.slices));
  if (all > 0) {
    const std::int64_t image = s.out_height * s.out_width, rest = p.pixels % image;
    p.step_image = static_cast<int>(p.pixels / image);
    p.step_down = static_cast<int>(rest / s.out_width);
    p.step_across = static_cast<int>(rest % s.out_width);
  }
  return p;
}

// Four neighbouring elements of a step, from the gradient or the source, that a thread loads into shared memory.
template <class T, class Gradient>
class ConvFilterQuad {
 public:
  __device__ void begin(const ConvGather& job, const ConvFilterPlan& plan, int number, int group, int row, int column,
                        std::int64_t first, std::int64_t end) {
    const int of_gradient = plan.pixels * plan.rows / 4;
    gradient_ = number < of_gradient;
    const int quads = (gradient_ ? plan.rows : plan.columns) / 4;
    if (!gradient_) number -= of_gradient;
    const int pixel = number / quads, quad = (number - pixel * quads) * 4;
    const bool second = gradient_ && quad >= plan.rows / 2;
    to_ = gradient_ ? pixel * (plan.rows / 2) + quad + (second ? plan.half - plan.rows / 2 : 0)
                    : plan.source() + pixel * plan.columns + quad;
    inside_ = pixel < plan.pixels;
    left_ = pixel < plan.pixels ? end - first - pixel : 0;
    const ConvAxis down = forward_axis(job.rows), across = forward_axis(job.columns);
    spot_ = PixelOrder::spot(first + pixel, job.images, down, across);
    at_ = (gradient_ ? row : column) + quad;
    channel_ = gradient_ ? group * job.target_group + at_ : group * job.source_group;
    if (!gradient_ && at_ < plan.depth) place_.set(at_, across, job.source_group);
  }

  __device__ void store(T* buffer, const Quad<T>& quad) const {
    if (inside_) store_quad(buffer + to_, quad);
  }

  // Loads the quad, then advances to the next step.
  __device__ Quad<T> load(const ConvGather& job, const ConvFilterPlan& plan, const ImageSource<T>& x,
                          const Gradient& dy) {
    Quad<T> quad = {};
    if (left_ > 0) quad = gradient_ ? gradient_quad(job, dy) : source_quad(job, plan, x);
    left_ -= plan.pixels;
    spot_.image += plan.step_image;
    spot_.t_down += plan.step_down;
    spot_.t_across += plan.step_across;
    if (spot_.t_across >= job.columns.out_size) {
      spot_.t_across -= job.columns.out_size;
      ++spot_.t_down;
    }
    if (spot_.t_down >= job.rows.out_size) {
      spot_.t_down -= job.rows.out_size;
      ++spot_.image;
    }
    return quad;
  }

 private:
  __device__ Quad<T> gradient_quad(const ConvGather& job, const Gradient& dy) const {
    const auto pixel = dy.pixel(spot_.image, spot_.t_down, spot_.t_across);
    if (dy.quads) return at_ < job.target_group ? dy.load_four(pixel, channel_) : Quad<T>{};
    Quad<T> quad;
#pragma unroll
    for (int j = 0; j < 4; ++j) quad.v[j] = at_ + j < job.target_group ? dy.load(pixel, channel_ + j) : T{0};
    return quad;
  }

  __device__ typename ImageSource<T>::Pixel pixel(const ConvGather& job, const ImageSource<T>& x,
                                                  const ConvDepth& place) const {
    return x.pixel(spot_.image, spot_.t_down * job.rows.stride - job.rows.pad + place.j_down * job.rows.dilation,
                   spot_.t_across * job.columns.stride - job.columns.pad + place.j_across * job.columns.dilation);
  }

  __device__ Quad<T> source_quad(const ConvGather& job, const ConvFilterPlan& plan, const ImageSource<T>& x) const {
    if (x.quads && at_ < plan.depth) return x.load_four(pixel(job, x, place_), channel_ + place_.channel);
    ConvAxis across = forward_axis(job.columns);
    ConvDepth place = place_;
    Quad<T> quad;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      quad.v[j] = at_ + j == plan.depth ? T{1} : T{0};
      if (at_ + j >= plan.depth) continue;
      quad.v[j] = x.load(pixel(job, x, place), channel_ + place.channel);
      place.advance(1, across, job.source_group);
    }
    return quad;
  }

  bool gradient_, inside_;  // from the gradient, else from the source; within the step
  int to_;                  // offset in the buffer
  int at_, channel_;        // the quad's row or column; its channel (source: the group's first)
  std::int64_t left_;       // remaining pixels of the range
  ConvSpot spot_;
  ConvDepth place_{};
};

// One block per tile and range of pixels; tiles vary fastest, so that those that read the same pixels run together.
// Reads the gradient once per column tile, and the source once per tap (neighbouring taps from cache) and row tile;
// sums in T in chains, and slices in Sum<T>.
template <class T, class Gradient>
__global__ void conv_filter_kernel(ConvGather job, ConvFilterPlan plan, int first_column_tile, ImageSource<T> x,
                                   Gradient dy, T* partials) {
  T* const buffers = dynamic_shared<T>();
  const int thread = static_cast<int>(threadIdx.x);
  const int micros = plan.rows / 8 * (plan.columns / 4), slice = thread / micros, micro = thread - slice * micros;
  const int my_row = micro / (plan.columns / 4) * 4, my_column = micro % (plan.columns / 4) * 4;  // of each half
  const int column_tiles = plan.column_tiles - first_column_tile;
  const std::int64_t pixels = PixelOrder::pixels(job.images, forward_axis(job.rows), forward_axis(job.columns));
  const std::int64_t tiles = static_cast<std::int64_t>(column_tiles) * plan.row_tiles * job.groups;
  for (std::int64_t i = blockIdx.x; i < tiles * plan.splits; i += gridDim.x) {
    const int column = (first_column_tile + static_cast<int>(i % column_tiles)) * plan.columns;
    const int row = static_cast<int>(i / column_tiles % plan.row_tiles) * plan.rows;
    const int group = static_cast<int>(i / column_tiles / plan.row_tiles % job.groups);
    const std::int64_t split = i / tiles, first = split * plan.split_pixels;
    const std::int64_t end = min(pixels, first + plan.split_pixels);

    ConvFilterQuad<T, Gradient> quads[ConvFilterPlan::kQuads];
    Quad<T> loaded[ConvFilterPlan::kQuads];
#pragma unroll
    for (int j = 0; j < ConvFilterPlan::kQuads; ++j) {
      quads[j].begin(job, plan, thread + j * ConvFilterPlan::kThreads, group, row, column, first, end);
    }
    ConvBlock<T> sums[2] = {}, totals[2] = {};
    int now = 0, steps = 0;
    for (std::int64_t done = 0; first + done < end; done += plan.pixels, now ^= 1) {
      T* const buffer = buffers + now * plan.step();
      if (done == 0) {
#pragma unroll
        for (int j = 0; j < ConvFilterPlan::kQuads; ++j) loaded[j] = quads[j].load(job, plan, x, dy);
      }
#pragma unroll
      for (int j = 0; j < ConvFilterPlan::kQuads; ++j) quads[j].store(buffer, loaded[j]);
      __syncthreads();
      if (first + done + plan.pixels < end) {  // loads the next step during the multiplication
#pragma unroll
        for (int j = 0; j < ConvFilterPlan::kQuads; ++j) loaded[j] = quads[j].load(job, plan, x, dy);
      }
      if (slice < plan.slices) {
        const T* const a = buffer + my_row;
        const T* const b = buffer + plan.source() + my_column;
#pragma unroll 2
        for (int p = slice; p < plan.pixels; p += plan.slices) {
          const Quad<T> right = load_quad(b + p * plan.columns);
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            const Quad<T> left = load_quad(a + m * plan.half + p * (plan.rows / 2));
#pragma unroll
            for (int r = 0; r < 4; ++r) {
#pragma unroll
              for (int c = 0; c < 4; ++c) sums[m].v[r][c] = fma(left.v[r], right.v[c], sums[m].v[r][c]);
            }
          }
        }
      }
      if (++steps == plan.chain_steps) {
        end_chains(sums, totals);
        steps = 0;
      }
    }
    end_chains(sums, totals);
    __syncthreads();  // before the buffers hold the slices' sums

    if (slice < plan.slices) {
      T* const to = buffers + (slice * plan.rows + my_row) * plan.columns + my_column;
#pragma unroll
      for (int r = 0; r < 8; ++r) {
        const T(&four)[4] = totals[r / 4].v[r % 4];
        store_quad(to + (r / 4 * (plan.rows / 2) + r % 4) * plan.columns, Quad<T>{four[0], four[1], four[2], four[3]});
      }
    }
    __syncthreads();
    for (int e = thread; e < plan.rows * plan.columns; e += ConvFilterPlan::kThreads) {
      const int r = e / plan.columns, c = e - r * plan.columns;
      if (row + r >= job.target_group || column + c >= plan.width) continue;
      Sum<T> sum;
      for (int k = 0; k < plan.slices; ++k) sum.add(buffers[k * plan.rows * plan.columns + e]);
      const std::int64_t filter = split * job.target_channels() + group * job.target_group + row + r;
      partials[filter * plan.width + column + c] = sum.rounded();
    }
    __syncthreads();  // before the next tile's first step
  }
}

template <class T>
struct ConvFilterTarget {  // null: not computed
  T* dw = nullptr;
  T* dbias = nullptr;
  bool accumulate_dw = false, accumulate_dbias = false;
};

// Adds each element's partial sums with `lanes` threads; a block's elements are adjacent. Reads every partial sum once;
// adds in Sum<T>, in an order that depends only on splits and lanes.
template <class T>
__global__ void conv_filter_total_kernel(const T* partials, int splits, std::int64_t elements, int depth, int width,
                                         int lanes, ConvFilterTarget<T> target) {
  alignas(16) __shared__ unsigned char raw[kThreads * sizeof(Sum<T>)];
  Sum<T>* const sums = reinterpret_cast<Sum<T>*>(raw);
  const int thread = static_cast<int>(threadIdx.x), per_block = kThreads / lanes, lane = thread / per_block;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * per_block; first < elements;
       first += static_cast<std::int64_t>(gridDim.x) * per_block) {
    const std::int64_t element = first + thread % per_block;
    const std::int64_t filter = element / width;
    const int column = static_cast<int>(element - filter * width);
    const bool wanted = element < elements && (column < depth ? target.dw : target.dbias) != nullptr;
    Sum<T> sum;
    if (wanted) {
#pragma unroll 4
      for (int k = lane; k < splits; k += lanes) sum.add(partials[k * elements + element]);
    }
    sums[thread] = sum;
    __syncthreads();
    for (int half = lanes / 2; half > 0; half /= 2) {
      if (lane < half) sums[thread].merge(sums[thread + half * per_block]);
      __syncthreads();
    }
    if (lane == 0 && wanted) {
      const T total = sums[thread].rounded();
      T* const to = column < depth ? target.dw + filter * depth + column : target.dbias + filter;
      const bool accumulate = column < depth ? target.accumulate_dw : target.accumulate_dbias;
      *to = accumulate ? *to + total : total;
    }
    __syncthreads();
  }
}

// x is [N, H, W, C], dy [N, Ho, Wo, out]. `with_bias`: the bias's gradient may be required too; the bits of the
// filter's gradient depend on this.
template <class T, class Gradient>
void conv_filter(Stream& stream, const ConvShape& s, bool with_bias, const T* x, const Gradient& dy,
                 const ConvFilterTarget<T>& target) {
  const ConvFilterPlan plan = conv_filter_plan(s, with_bias);
  const std::int64_t elements = plan.partials(s);
  if (elements == 0 || (target.dw == nullptr && target.dbias == nullptr)) return;
  const ConvGather job = conv_gather(s, false);
  const ImageSource<T> source{x, job.rows.size, job.columns.size, static_cast<int>(s.channels),
                              quads_fit(x, static_cast<int>(s.channels), job.source_group)};
  const Scratch<T> partials(stream, elements * plan.splits);
  const int first_column_tile = target.dw == nullptr ? plan.column_tiles - 1 : 0;  // the bias is the last column
  const std::int64_t blocks =
      static_cast<std::int64_t>(plan.column_tiles - first_column_tile) * plan.row_tiles * job.groups * plan.splits;
  const std::size_t shared =
      sizeof(T) * static_cast<std::size_t>(std::max(2 * plan.step(), plan.slices * plan.rows * plan.columns));
  launch(stream, "conv_filter", conv_filter_kernel<T, Gradient>, dim3(blocks_for(stream, blocks, 1)),
         dim3(ConvFilterPlan::kThreads), shared, job, plan, first_column_tile, source, dy, partials.data());
  int lanes = 1;
  while (lanes < 32 && lanes * 8 <= plan.splits) lanes *= 2;
  launch(stream, "conv_filter_total", conv_filter_total_kernel<T>, dim3(blocks_for(stream, elements, kThreads / lanes)),
         dim3(kThreads), 0, partials.data(), plan.splits, elements, plan.depth, plan.width, lanes, target);
}

}  // namespace descent::gpu
