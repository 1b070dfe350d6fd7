// Direct convolution for groups of few channels (depthwise), for which neither tiles nor patches have data to share.
// Each sum is in the same order as in tile.cuh.
#pragma once

#include "cuda/conv/target.cuh"

namespace descent::gpu {

template <class T>
__device__ void end_four_chains(T (&sums)[4], T (&totals)[4]) {
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    totals[p] += sums[p];
    sums[p] = 0;
  }
}

// One thread per four target pixels and one channel; the channels of all groups vary fastest, so that lanes access
// neighbouring elements. Reads the source once per tap, after the first time from cache; sums in T in chains.
template <class Source, class Target>
__global__ void conv_direct_kernel(ConvGather job, Source source, const typename Source::Element* weights,
                                   Target target, std::int64_t fours) {
  using T = typename Source::Element;
  const int channels = job.target_channels();
  const std::int64_t items = fours * channels * job.phases();
  for (std::int64_t i = grid_thread(); i < items; i += grid_threads()) {
    const std::int64_t number = i / channels;
    const int channel = static_cast<int>(i - number * channels), phase = static_cast<int>(number / fours);
    const int group = channel / job.target_group;
    const ConvAxis down = job.down(phase), across = job.across(phase);
    ConvSpot spots[4];
    Target::Order::four(number % fours * 4, job.images, down, across, spots);
    if (spots[0].image < 0) continue;  // phases differ in size

    const T* const filter = weights + static_cast<std::int64_t>(group) * job.weight_group +
                            (channel - group * job.target_group) * job.weight_target;
    const int chain = conv_chain(down.taps * across.taps * job.source_group);
    int left = chain;
    T sums[4] = {}, totals[4] = {};
    for (int j_down = 0; j_down < down.taps; ++j_down) {
      for (int j_across = 0; j_across < across.taps; ++j_across) {
        typename Source::Pixel pixels[4];
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          pixels[p] = source.pixel(spots[p].image, spots[p].t_down * down.step + down.base + j_down * down.reach,
                                   spots[p].t_across * across.step + across.base + j_across * across.reach);
        }
        const int ky = down.tap + j_down * down.tap_step, kx = across.tap + j_across * across.tap_step;
        const T* const from = filter + (ky * job.columns.kernel + kx) * job.weight_tap;
        for (int c = 0; c < job.source_group; ++c) {
          const T weight = from[static_cast<std::int64_t>(c) * job.weight_source];
#pragma unroll
          for (int p = 0; p < 4; ++p) {
            sums[p] = fma(source.load(pixels[p], group * job.source_group + c), weight, sums[p]);
          }
          if (--left == 0) {
            end_four_chains(sums, totals);
            left = chain;
          }
        }
      }
    }
    end_four_chains(sums, totals);
    ConvBlock<T> block;
#pragma unroll
    for (int p = 0; p < 4; ++p) block.v[p][0] = totals[p];
    target(job, down, across, spots, channel, 1, block);
  }
}

template <class Source, class Target>
void conv_directly(Stream& stream, const ConvGather& job, const Source& source, const typename Source::Element* weights,
                   const Target& target) {
  const std::int64_t fours = divide_up(Target::Order::pixels(job.images, job.down(0), job.across(0)), 4);
  const std::int64_t items = fours * job.target_channels() * job.phases();
  launch(stream, "conv_direct", conv_direct_kernel<Source, Target>, dim3(blocks_for(stream, items)), dim3(kThreads), 0,
         job, source, weights, target, fours);
}

}  // namespace descent::gpu
