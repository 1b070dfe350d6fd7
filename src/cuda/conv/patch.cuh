// Convolution of images with few channels. Shared memory holds the patch of the image that a band of target rows reads
// and the whole filter of a group, so a source element is loaded once, not once per tap, and taps need no bounds
// checks. Each sum is in the same order as in tile.cuh.
#pragma once

#include <algorithm>

#include "cuda/conv/target.cuh"

namespace descent::gpu {

struct ConvPatch {
  int band = 0, bands = 0;    // target rows per block, 0 if they don't fit; number of bands
  int rows = 0, columns = 0;  // of the source patch
  int pitch = 0;              // between pixels of the patch; odd, to avoid bank conflicts
  int packs = 0;              // groups of four target channels
  int depth = 0;              // of the filter, the largest of all phases
  int threads = 0;

  // An odd number of quads, so that neighbours in depth don't share banks.
  __host__ __device__ int filter_pitch() const { return (packs | 1) * 4; }
  __host__ __device__ int filter_size() const { return depth * filter_pitch(); }
  std::int64_t size() const { return filter_size() + std::int64_t{rows} * columns * pitch; }
};

// Chooses bands of equal size, with enough rows to keep a block busy if shared memory allows. Depends only
// on the shape.
template <class Order>
ConvPatch conv_patch(const ConvGather& job, std::size_t element) {
  constexpr std::int64_t kShared = 48 * 1024, kItems = 512;   // an item: four pixels by four channels
  const ConvAxis down = job.down(0), across = job.across(0);  // phase 0 has the most pixels; the reach is the same
  int taps_down = 0, taps_across = 0;
  for (int phase = 0; phase < job.phases(); ++phase) {
    taps_down = job.down(phase).taps > taps_down ? job.down(phase).taps : taps_down;
    taps_across = job.across(phase).taps > taps_across ? job.across(phase).taps : taps_across;
  }
  const int all_rows = down.pixels / Order::kRows * Order::kRows, all_columns = across.pixels;
  ConvPatch p;
  if (taps_down * taps_across * job.source_group == 0 || all_rows == 0 || all_columns == 0) return p;
  p.columns = (all_columns - 1) * across.step + (taps_across - 1) * across.reach + 1;
  p.pitch = job.source_group % 2 == 0 ? job.source_group + 1 : job.source_group;
  p.packs = static_cast<int>(divide_up(job.target_group, 4));
  p.depth = taps_down * taps_across * job.source_group;
  const auto set_band = [&](std::int64_t band) {
    p.bands = static_cast<int>(divide_up(all_rows, band));
    p.band = static_cast<int>(divide_up(all_rows, std::int64_t{p.bands} * Order::kRows)) * Order::kRows;
    p.rows = (p.band - 1) * down.step + (taps_down - 1) * down.reach + 1;
  };
  const auto items = [&](std::int64_t rows) { return divide_up(rows * all_columns, 4) * p.packs; };
  std::int64_t band = Order::kRows * std::max<std::int64_t>(1, kItems / items(Order::kRows));
  set_band(band);
  for (; p.size() * static_cast<std::int64_t>(element) > kShared; set_band(band)) {
    band -= Order::kRows;
    if (band <= 0) return {};
  }
  p.threads = static_cast<int>(std::min<std::int64_t>(divide_up(items(p.band), kWarp) * kWarp, kThreads));
  return p;
}

// Loads a group's filter as [depth][filter_pitch], padded with zeros to whole packs. All threads of the
// block must call it.
template <class T>
__device__ void load_patch_filter(const ConvGather& job, const ConvPatch& plan, const ConvAxis& down,
                                  const ConvAxis& across, const T* weights, T* filter) {
  const int columns = plan.packs * 4, depth = down.taps * across.taps * job.source_group;
  for (int i = static_cast<int>(threadIdx.x); i < depth * columns; i += static_cast<int>(blockDim.x)) {
    const int k = job.data ? i / columns : i % depth, column = job.data ? i % columns : i / depth;  // in memory order
    ConvDepth place;
    place.set(k, across, job.source_group);
    const int ky = down.tap + place.j_down * down.tap_step, kx = across.tap + place.j_across * across.tap_step;
    filter[k * plan.filter_pitch() + column] =
        column < job.target_group ? weights[column * job.weight_target + place.channel * job.weight_source +
                                            (ky * job.columns.kernel + kx) * job.weight_tap]
                                  : T{0};
  }
}

// Loads rows y, y + 1, ... of a group's channels as [row][column][pitch], zeros outside the image. All
// threads must call it.
template <class Source, class T>
__device__ void load_patch(const ConvGather& job, const ConvPatch& plan, const Source& source, int image, int y, int x,
                           int group, T* patch) {
  const int lanes = source.quads ? job.source_group / 4 : job.source_group;
  const int elements = plan.rows * plan.columns * lanes;
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += static_cast<int>(blockDim.x)) {
    const int pixel = i / lanes, lane = i - pixel * lanes, row = pixel / plan.columns;
    const auto from = source.pixel(image, y + row, x + pixel - row * plan.columns);
    T* const to = patch + pixel * plan.pitch;
    if (source.quads) {
      const Quad<T> quad = source.load_four(from, group * job.source_group + lane * 4);
#pragma unroll
      for (int j = 0; j < 4; ++j) to[lane * 4 + j] = quad.v[j];
    } else {
      to[lane] = source.load(from, group * job.source_group + lane);
    }
  }
}

// sums += `run` (or kRun, if it is not 0) consecutive products of four pixels, whose patches begin at at[0] to
// at[3], by four channels.
template <int kRun, class T>
__device__ void add_run(const T* patch, const int (&at)[4], const T* filter, int filter_pitch, int run,
                        ConvBlock<T>& sums) {
#pragma unroll(kRun > 0 ? kRun : 4)
  for (int i = 0; i < (kRun > 0 ? kRun : run); ++i) {
    const Quad<T> b = load_quad(filter + i * filter_pitch);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const T a = patch[at[p] + i];
#pragma unroll
      for (int o = 0; o < 4; ++o) sums.v[p][o] = fma(a, b.v[o], sums.v[p][o]);
    }
  }
}

// The sums of all products of four pixels by the first four channels of `filter`.
template <class T>
__device__ ConvBlock<T> multiply_patch(const ConvGather& job, const ConvPatch& plan, const ConvAxis& down,
                                       const ConvAxis& across, const T* patch, const int (&at)[4], const T* filter) {
  const bool whole_rows = across.reach == 1 && plan.pitch == job.source_group;  // a row of taps is contiguous
  const int runs = whole_rows ? 1 : across.taps, run = whole_rows ? across.taps * job.source_group : job.source_group;
  const int depth = down.taps * across.taps * job.source_group, chain = conv_chain(depth),
            filter_pitch = plan.filter_pitch();
  ConvBlock<T> sums[1] = {}, totals[1] = {};
  int left = chain;
  for (int j_down = 0; j_down < down.taps; ++j_down) {
    for (int j_across = 0; j_across < runs; ++j_across) {
      const T* from = patch + (j_down * down.reach * plan.columns + j_across * across.reach) * plan.pitch;
      if (run == 3 && depth <= chain) {
        add_run<3>(from, at, filter, filter_pitch, run, sums[0]);
        filter += 3 * filter_pitch;
        continue;
      }
      if (run == 5 && depth <= chain) {
        add_run<5>(from, at, filter, filter_pitch, run, sums[0]);
        filter += 5 * filter_pitch;
        continue;
      }
      for (int rest = run; rest > 0;) {  // split at the end of a chain
        const int part = min(rest, left);
        add_run<0>(from, at, filter, filter_pitch, part, sums[0]);
        from += part;
        filter += part * filter_pitch;
        rest -= part;
        left -= part;
        if (left > 0) continue;
        end_chains(sums, totals);
        left = chain;
      }
    }
  }
  end_chains(sums, totals);
  return totals[0];
}

// One block per image and band, one thread per four pixels and four channels; channels vary fastest, so that lanes
// share elements of the patch and write neighbouring ones. The filter is reloaded only when the group or phase changes.
// Reads the source once, except where bands overlap; sums in T in chains.
template <class Source, class Target>
__global__ void conv_patch_kernel(ConvGather job, Source source, const typename Source::Element* weights, Target target,
                                  ConvPatch plan) {
  using T = typename Source::Element;
  using Order = typename Target::Order;
  T* const filter = dynamic_shared<T>();
  T* const patch = filter + plan.filter_size();
  const std::int64_t blocks = static_cast<std::int64_t>(job.images) * plan.bands * job.groups * job.phases();
  int loaded = -1;
  for (std::int64_t i = blockIdx.x; i < blocks; i += gridDim.x) {
    const std::int64_t number = i / plan.bands;
    const int image = static_cast<int>(number % job.images), outer = static_cast<int>(number / job.images);
    const int first = static_cast<int>(i - number * plan.bands) * plan.band;
    const int group = outer % job.groups;
    const ConvAxis down = job.down(outer / job.groups), across = job.across(outer / job.groups);
    ConvAxis band = down;
    band.pixels = min(plan.band, down.pixels - first);
    if (band.pixels <= 0) continue;  // phases differ in size
    if (loaded != outer) {
      load_patch_filter(job, plan, down, across, weights + static_cast<std::int64_t>(group) * job.weight_group, filter);
      loaded = outer;
    }
    load_patch(job, plan, source, image, first * down.step + down.base, across.base, group, patch);
    __syncthreads();

    const int items = (static_cast<int>(Order::pixels(1, band, across)) + 3) / 4 * plan.packs;
    for (int item = static_cast<int>(threadIdx.x); item < items; item += static_cast<int>(blockDim.x)) {
      const int four = item / plan.packs, channel = (item - four * plan.packs) * 4;
      ConvSpot spots[4];
      Order::four(four * 4, 1, band, across, spots);
      int at[4];
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        const int pixel = spots[p].t_down * down.step * plan.columns + spots[p].t_across * across.step;
        at[p] = spots[p].image < 0 ? 0 : pixel * plan.pitch;
        spots[p].image = spots[p].image < 0 ? -1 : image;
        spots[p].t_down += first;
      }
      const ConvBlock<T> block = multiply_patch(job, plan, down, across, patch, at, filter + channel);
      target(job, down, across, spots, group * job.target_group + channel, min(4, job.target_group - channel), block);
    }
    __syncthreads();  // before patch and filter change
  }
}

// Whether this kernel suits the shape: few channels on one side, and a filter small enough to be loaded by each block.
template <class Order>
bool conv_fits_patch(const ConvGather& job, std::size_t element) {
  const bool thin = job.source_group <= 8 || job.target_group <= 8;
  return thin && job.target_group <= 64 && job.most_depth() <= 1024 && conv_patch<Order>(job, element).band > 0;
}

template <class Source, class Target>
void conv_by_patches(Stream& stream, const ConvGather& job, const Source& source,
                     const typename Source::Element* weights, const Target& target) {
  using T = typename Source::Element;
  const ConvPatch plan = conv_patch<typename Target::Order>(job, sizeof(T));
  const std::int64_t blocks = static_cast<std::int64_t>(job.images) * plan.bands * job.groups * job.phases();
  launch(stream, "conv_patch", conv_patch_kernel<Source, Target>, dim3(blocks_for(stream, blocks, 1)),
         dim3(static_cast<unsigned>(plan.threads)), static_cast<std::size_t>(plan.size()) * sizeof(T), job, source,
         weights, target, plan);
}

}  // namespace descent::gpu
