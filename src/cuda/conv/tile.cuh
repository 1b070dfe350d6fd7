// Convolution as a matrix product whose left factor is gathered as it is loaded (implicit GEMM): rows are target
// pixels, columns are a group's target channels, and the depth runs over taps and source channels. Supports every
// geometry; designed for layers with many channels.
#pragma once

#include "cuda/conv/target.cuh"

namespace descent::gpu {

// A block's tile of the product, of which a thread computes kMicro rows by 4 columns.
template <class T, int kRows_, int kColumns_, int kMicro_>
struct ConvTile {
  using Element = T;
  static constexpr int kRows = kRows_, kColumns = kColumns_, kMicro = kMicro_;
  static constexpr int kDepth = 16;  // products between two barriers
  static constexpr int kThreads = kRows / kMicro * (kColumns / 4);
  static constexpr int kRowPitch = kRows + 4, kColumnPitch = kColumns + 4;
  static constexpr int kBuffer = kDepth * (kRowPitch + kColumnPitch);
  static constexpr int kRowQuads = kRows * kDepth / 4 / kThreads;
  static constexpr int kColumnQuads = (kColumns * kDepth / 4 + kThreads - 1) / kThreads;
  static constexpr std::size_t kShared = 2 * kBuffer * sizeof(T) + kRows * sizeof(ConvSpot);
  static_assert(kRows * kDepth / 4 % kThreads == 0 && kThreads % kWarp == 0 && kShared <= 48 * 1024);
};

// The index of element `i` of slice k in shared memory. A warp stores transposed: eight neighbours of each of slices
// k, k + 4, k + 8 and k + 12 at once. The pitch puts slices k and k + 4 on different banks; the XOR moves k + 8 and k
// + 12 away from them.
__device__ inline int conv_tile_place(int k, int pitch, int i) { return k * pitch + (i ^ (k & 8)); }

// Loads kDepth slices of both factors into shared memory, as [depth][row] and [depth][column], through registers, so
// that the next slices are in flight while the current ones are multiplied.
template <class Tile, class Source, bool kData>
class ConvTileLoader {
 public:
  using T = typename Tile::Element;

  __device__ ConvTileLoader(const ConvGather& job, const Source& source, const T* weights, bool weight_quads,
                            const ConvAxis& down, const ConvAxis& across, const ConvSpot* spots, int group, int column)
      : job_(job),
        source_(source),
        weights_(weights + static_cast<std::int64_t>(group) * job.weight_group),
        weight_quads_(weight_quads),
        down_(down),
        across_(across),
        spots_(spots),
        channel_(group * job.source_group),
        column_(column),
        depth_(down.taps * across.taps * job.source_group) {
    k_ = kData ? thread() / kColumnGroups : thread() % 4 * 4;
    if (depth_ == 0) return;
    row_place_.set(thread() % 4 * 4, across_, job_.source_group);
    if (kData) column_place_.set(k_, across_, job_.source_group);
  }

  __device__ int depth() const { return depth_; }

  __device__ void load() {
#pragma unroll
    for (int i = 0; i < Tile::kRowQuads; ++i) rows_[i] = row_quad(spots_[thread() / 4 + i * (Tile::kThreads / 4)]);
    row_place_.advance(Tile::kDepth, across_, job_.source_group);
    if (kData) {
      load_columns_of_data();
    } else {
      load_columns();
    }
  }

  __device__ void store(T* buffer) const {
    const int k = thread() % 4 * 4;
#pragma unroll
    for (int i = 0; i < Tile::kRowQuads; ++i) {
      const int row = thread() / 4 + i * (Tile::kThreads / 4);
#pragma unroll
      for (int j = 0; j < 4; ++j) buffer[conv_tile_place(k + j, Tile::kRowPitch, row)] = rows_[i].v[j];
    }
    T* const to = buffer + Tile::kDepth * Tile::kRowPitch;
#pragma unroll
    for (int i = 0; i < Tile::kColumnQuads; ++i) {
      if (thread() + i * Tile::kThreads >= Tile::kColumns * Tile::kDepth / 4) break;
      if (kData) {
        const int slice = thread() / kColumnGroups + i * (Tile::kThreads / kColumnGroups);
        store_quad(to + conv_tile_place(slice, Tile::kColumnPitch, thread() % kColumnGroups * 4), columns_[i]);
      } else {
        const int column = thread() / 4 + i * (Tile::kThreads / 4);
#pragma unroll
        for (int j = 0; j < 4; ++j) to[conv_tile_place(k + j, Tile::kColumnPitch, column)] = columns_[i].v[j];
      }
    }
  }

 private:
  static constexpr int kColumnGroups = Tile::kColumns / 4;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }

  __device__ typename Source::Pixel pixel(const ConvSpot& spot, const ConvDepth& place) const {
    const int image = place.j_down < down_.taps ? spot.image : -1;
    return source_.pixel(image, spot.t_down * down_.step + down_.base + place.j_down * down_.reach,
                         spot.t_across * across_.step + across_.base + place.j_across * across_.reach);
  }

  // Four neighbours in depth; if the source loads quads, they are channels of one pixel.
  __device__ Quad<T> row_quad(const ConvSpot& spot) const {
    if (source_.quads) return source_.load_four(pixel(spot, row_place_), channel_ + row_place_.channel);
    ConvDepth place = row_place_;
    Quad<T> quad;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      quad.v[j] = source_.load(pixel(spot, place), channel_ + place.channel);
      place.advance(1, across_, job_.source_group);
    }
    return quad;
  }

  // The forward's filter is stored in the order of summation: a quad is four neighbours in depth.
  __device__ void load_columns() {
#pragma unroll
    for (int i = 0; i < Tile::kColumnQuads; ++i) {
      const int column = column_ + thread() / 4 + i * (Tile::kThreads / 4);
      const T* const from = weights_ + static_cast<std::int64_t>(column) * job_.weight_target + k_;
      if (column >= job_.target_group || k_ >= depth_) {
        columns_[i] = {};
      } else if (weight_quads_) {
        columns_[i] = load_quad(from);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) columns_[i].v[j] = k_ + j < depth_ ? from[j] : T{0};
      }
    }
    k_ += Tile::kDepth;
  }

  // For the data gradient, target channels are contiguous: a quad is four columns.
  __device__ void load_columns_of_data() {
    ConvDepth place = column_place_;
#pragma unroll
    for (int i = 0; i < Tile::kColumnQuads; ++i) {
      const int column = column_ + thread() % kColumnGroups * 4;
      const int ky = down_.tap + place.j_down * down_.tap_step, kx = across_.tap + place.j_across * across_.tap_step;
      const T* const from = weights_ + static_cast<std::int64_t>(place.channel) * job_.weight_source +
                            (ky * job_.columns.kernel + kx) * job_.weight_tap + column;
      if (place.j_down >= down_.taps || column >= job_.target_group) {
        columns_[i] = {};
      } else if (weight_quads_) {
        columns_[i] = load_quad(from);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) columns_[i].v[j] = column + j < job_.target_group ? from[j] : T{0};
      }
      if (i + 1 < Tile::kColumnQuads) {
        place.advance(Tile::kThreads / kColumnGroups, across_, job_.source_group);
      }
    }
    column_place_.advance(Tile::kDepth, across_, job_.source_group);
  }

  const ConvGather& job_;
  const Source& source_;
  const T* weights_;
  bool weight_quads_;
  const ConvAxis &down_, &across_;
  const ConvSpot* spots_;
  int channel_, column_, depth_;
  int k_;  // depth of the column quad
  ConvDepth row_place_{}, column_place_{};
  Quad<T> rows_[Tile::kRowQuads];
  Quad<T> columns_[Tile::kColumnQuads];
};

template <class Tile>
using ConvSums = ConvBlock<typename Tile::Element>[Tile::kMicro / 4];

// sums += the products of kDepth slices for this thread's rows and columns.
template <class Tile>
__device__ void multiply_tile(const typename Tile::Element* buffer, ConvSums<Tile>& sums) {
  using T = typename Tile::Element;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / (Tile::kColumns / 4) * Tile::kMicro, column = thread % (Tile::kColumns / 4) * 4;
  const T* const columns = buffer + Tile::kDepth * Tile::kRowPitch;
#pragma unroll
  for (int k = 0; k < Tile::kDepth; ++k) {
    const Quad<T> b = load_quad(columns + conv_tile_place(k, Tile::kColumnPitch, column));
#pragma unroll
    for (int m = 0; m < Tile::kMicro / 4; ++m) {
      const Quad<T> a = load_quad(buffer + conv_tile_place(k, Tile::kRowPitch, row + 4 * m));
#pragma unroll
      for (int p = 0; p < 4; ++p) {
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[m].v[p][c] = fma(a.v[p], b.v[c], sums[m].v[p][c]);
      }
    }
  }
}

// One block per tile; column tiles vary fastest, so that tiles that read the same pixels run together. Reads the source
// once per tap and column tile (neighbouring taps from cache), and the filter once per row tile; sums in T in chains.
template <class Tile, class Source, class Target>
__global__ void conv_tile_kernel(ConvGather job, Source source, const typename Tile::Element* weights,
                                 bool weight_quads, Target target, int column_tiles, std::int64_t row_tiles) {
  using T = typename Tile::Element;
  T* const buffers = dynamic_shared<T>();
  ConvSpot* const spots = reinterpret_cast<ConvSpot*>(buffers + 2 * Tile::kBuffer);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t tiles = row_tiles * column_tiles * job.groups * job.phases();
  for (std::int64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
    const int column = static_cast<int>(i % column_tiles) * Tile::kColumns;
    const std::int64_t first_row = i / column_tiles % row_tiles * Tile::kRows;
    const int outer = static_cast<int>(i / column_tiles / row_tiles);
    const int group = outer % job.groups;
    const ConvAxis down = job.down(outer / job.groups), across = job.across(outer / job.groups);
    if (first_row >= Target::Order::pixels(job.images, down, across)) continue;  // phases differ in size
    for (int r = thread; r < Tile::kRows; r += Tile::kThreads) {
      spots[r] = Target::Order::spot(first_row + r, job.images, down, across);
    }
    __syncthreads();

    ConvTileLoader<Tile, Source, Target::kData> loader(job, source, weights, weight_quads, down, across, spots, group,
                                                       column);
    ConvSums<Tile> sums = {}, totals = {};
    const int chain = conv_chain(loader.depth());
    if (loader.depth() > 0) {
      loader.load();
      loader.store(buffers);
    }
    __syncthreads();
    for (int k = 0, now = 0; k < loader.depth(); k += Tile::kDepth, now ^= 1) {
      const bool more = k + Tile::kDepth < loader.depth();
      if (more) loader.load();
      multiply_tile<Tile>(buffers + now * Tile::kBuffer, sums);
      if (!more || (k + Tile::kDepth) % chain == 0) end_chains(sums, totals);
      if (more) loader.store(buffers + (now ^ 1) * Tile::kBuffer);
      __syncthreads();
    }

    const int my_column = column + thread % (Tile::kColumns / 4) * 4;
    const int my_row = thread / (Tile::kColumns / 4) * Tile::kMicro;
    const int channels = min(4, job.target_group - my_column);
#pragma unroll
    for (int m = 0; m < Tile::kMicro / 4; ++m) {
      if (channels > 0) {
        target(job, down, across, spots + my_row + 4 * m, group * job.target_group + my_column, channels, totals[m]);
      }
    }
    __syncthreads();  // before the spots change
  }
}

template <class Tile, class Source, class Target>
void conv_by_tiles_of(Stream& stream, const ConvGather& job, const Source& source,
                      const typename Tile::Element* weights, const Target& target) {
  const std::int64_t rows = Target::Order::pixels(job.images, job.down(0), job.across(0));  // phase 0 is the largest
  const std::int64_t row_tiles = divide_up(rows, Tile::kRows);
  const int column_tiles = static_cast<int>(divide_up(job.target_group, Tile::kColumns));
  const int contiguous = job.data ? job.target_group : job.most_depth();  // in the filter
  const bool weight_quads = aligned16(weights) && contiguous % 4 == 0;
  const std::int64_t tiles = row_tiles * column_tiles * job.groups * job.phases();
  launch(stream, "conv_tile", conv_tile_kernel<Tile, Source, Target>, dim3(blocks_for(stream, tiles, 1)),
         dim3(Tile::kThreads), Tile::kShared, job, source, weights, weight_quads, target, column_tiles, row_tiles);
}

// The number of columns of a tile that wastes the least on channels that don't fill it; narrow tiles count as slower.
inline int conv_tile_columns(int target_group) {
  const auto cost = [&](int columns, double each) {
    return each * static_cast<double>(divide_up(target_group, columns) * columns);
  };
  const double wide = cost(64, 1), middle = cost(32, 1.1), narrow = cost(16, 1.3);
  return wide <= middle && wide <= narrow ? 64 : middle <= narrow ? 32 : 16;
}

template <class T, class Source, class Target>
void conv_by_tiles(Stream& stream, const ConvGather& job, const Source& source, const T* weights,
                   const Target& target) {
  switch (conv_tile_columns(job.target_group)) {
    case 64:
      return conv_by_tiles_of<ConvTile<T, 64, 64, 8>>(stream, job, source, weights, target);
    case 32:
      return conv_by_tiles_of<ConvTile<T, 64, 32, 4>>(stream, job, source, weights, target);
    default:
      return conv_by_tiles_of<ConvTile<T, 128, 16, 4>>(stream, job, source, weights, target);
  }
}

}  // namespace descent::gpu
