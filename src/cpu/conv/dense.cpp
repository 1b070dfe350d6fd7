// Runs convolution plans on one image: padding, weight packing, and the loops over rows and panels.
#include "cpu/conv/dense.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace descent::cpu {
namespace {

constexpr std::int64_t kSourceBytes = 64 << 10;  // of source rows that all panels process before the next rows
constexpr std::int64_t kTileBytes = 8 << 10;     // of convolved pixels that stay in L1 until they are pooled

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Range {
  std::int64_t begin, end;
};

// The rows of this share, in whole steps of `step` rows.
Range rows_of(const ConvPart& part, std::int64_t rows, std::int64_t step) {
  const std::int64_t steps = (rows + step - 1) / step;
  return {steps * part.share / part.shares * step, std::min(rows, steps * (part.share + 1) / part.shares * step)};
}

template <class T>
std::int64_t rows_at_once(const ConvPlan& plan) {
  const std::int64_t rows = kSourceBytes / std::max<std::int64_t>(1, plan.row() * static_cast<std::int64_t>(sizeof(T)));
  return std::max<std::int64_t>(2, rows / 2 * 2);
}

std::int64_t pairs_at_once(const ConvPlan& plan, std::int64_t element) {
  const std::int64_t pair = 2 * plan.passes.front().columns * plan.panel_width() * element;
  return std::max<std::int64_t>(1, kTileBytes / std::max<std::int64_t>(1, pair));
}

template <class T>
ConvTileJob<T> panel_job(const ConvRun<T>& run, const ConvPass& pass, const ConvPanel& panel, const T* source) {
  const T* packed = run.packed + pass.packed + panel.column * (pass.depth + 1);
  const std::int64_t width = panel.vectors * run.plan.lanes;
  ConvTileJob<T> job;
  job.a = source + panel.group * run.plan.source_group;
  job.segment = pass.segments.data();
  job.segments = static_cast<std::int64_t>(pass.segments.size());
  job.length = pass.length;
  job.b = packed + width;
  job.bias = packed;
  job.vectors = panel.vectors;
  job.channels = panel.channels;
  job.floor = run.relu ? T{0} : -std::numeric_limits<T>::infinity();
  job.accumulate = run.accumulate;
  return job;
}

}  // namespace

template <class T>
void clear_source(const ConvPlan& plan, T* padded) {
  std::fill_n(padded, plan.source_size() + kConvSlack, T{0});
}

template <class T>
void fill_source(const ConvPlan& plan, const T* image, T* padded) {
  const std::int64_t line = plan.real_columns * plan.source_channels;
  const std::int64_t rows = std::min(plan.real_rows, plan.source_rows - plan.pad_top);
  const std::int64_t columns = std::min(plan.real_columns, plan.source_columns - plan.pad_left);
  if (columns <= 0) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(padded + (plan.pad_top + r) * plan.row() + plan.pad_left * plan.source_channels, image + r * line,
                at(columns * plan.source_channels) * sizeof(T));
  }
}

template <class T>
void pack_weights(const ConvPlan& plan, const T* w, const T* bias, std::int64_t first, std::int64_t last, T* packed) {
  const ConvShape& s = plan.shape;
  const bool data = plan.direction == ConvDirection::data;
  const std::int64_t next_source = data ? s.filter() : 1;  // from one channel of the source to the next
  const std::int64_t next_target = data ? 1 : s.filter();
  for (const ConvPass& pass : plan.passes) {
    for (std::int64_t p = first; p < last; ++p) {
      const ConvPanel& panel = plan.panels[at(p)];
      const std::int64_t width = panel.vectors * plan.lanes;
      T* to = packed + pass.packed + panel.column * (pass.depth + 1);
      for (std::int64_t j = 0; j < width; ++j)
        *to++ = bias != nullptr && j < panel.channels ? bias[panel.channel + j] : T{0};
      const std::int64_t channel = panel.channel - panel.group * plan.target_group;
      const T* corner =
          data ? w + panel.group * plan.source_group * s.filter() + channel : w + panel.channel * s.filter();
      for (const ConvTap& tap : pass.taps) {
        const T* from = corner + (tap.ky * s.kernel_w + tap.kx) * s.in_group();
        for (std::int64_t c = 0; c < plan.source_group; ++c, from += next_source, to += width) {
          for (std::int64_t j = 0; j < panel.channels; ++j) to[j] = from[j * next_target];
          for (std::int64_t j = panel.channels; j < width; ++j) to[j] = 0;
        }
      }
    }
  }
}

template <class T>
void run_image(const ConvRun<T>& run, const ConvPart& part, const T* source, T* target) {
  const std::int64_t step = rows_at_once<T>(run.plan);
  for (const ConvPass& pass : run.plan.passes) {
    const Range all = rows_of(part, pass.rows, 1);
    for (std::int64_t row = all.begin; row < all.end; row += step) {
      const std::int64_t first = row * pass.columns;
      for (std::int64_t p = part.panel; p < part.last_panel; ++p) {
        const ConvPanel& panel = run.plan.panels[at(p)];
        ConvTileJob<T> job = panel_job(run, pass, panel, source);
        job.a_offset = pass.source.data() + first;
        job.c_offset = pass.target.data() + first;
        job.pixels = (std::min(all.end, row + step) - row) * pass.columns;
        job.c = target + panel.channel;
        run.kernels.tile(job);
      }
    }
  }
}

std::int64_t pooled_tile_size(const ConvPlan& plan, std::int64_t element) {
  return pairs_at_once(plan, element) * 2 * plan.passes.front().columns * plan.panel_width();
}

template <class T>
void run_pooled_image(const ConvRun<T>& run, const ConvPart& part, const T* source, T* tile, T* y, std::uint8_t* code) {
  const ConvPlan& plan = run.plan;
  const ConvPass& pass = plan.passes.front();
  const Range all = rows_of(part, pass.rows, 2);
  const std::int64_t step = rows_at_once<T>(plan), pairs = pairs_at_once(plan, sizeof(T));
  const std::int64_t channels = plan.target_channels;
  for (std::int64_t block = all.begin; block < all.end; block += step) {
    const std::int64_t block_end = std::min(all.end, block + step);
    for (std::int64_t p = part.panel; p < part.last_panel; ++p) {
      const ConvPanel& panel = plan.panels[at(p)];
      ConvTileJob<T> job = panel_job(run, pass, panel, source);
      job.channels = panel.vectors * plan.lanes;  // the tile holds whole vectors
      job.c_offset = pass.target.data();
      job.c = tile;
      ConvPoolJob<T> pool;
      pool.tile = tile;
      pool.columns = pass.columns / 2;
      pool.width = plan.panel_width();
      pool.channels = panel.channels;
      pool.stride = channels;
      for (std::int64_t row = block; row < block_end; row += 2 * pairs) {
        pool.rows = (std::min(block_end, row + 2 * pairs) - row) / 2;
        job.a_offset = pass.source.data() + row * pass.columns;
        job.pixels = pool.rows * 2 * pass.columns;
        run.kernels.tile(job);
        const std::int64_t window = row / 2 * pool.columns * channels + panel.channel;
        pool.y = y + window;
        pool.code = code + window;
        run.kernels.pool(pool);
      }
    }
  }
}

#define DESCENT_INSTANTIATE(T)                                                                        \
  template void clear_source<T>(const ConvPlan&, T*);                                                 \
  template void fill_source<T>(const ConvPlan&, const T*, T*);                                        \
  template void pack_weights<T>(const ConvPlan&, const T*, const T*, std::int64_t, std::int64_t, T*); \
  template void run_image<T>(const ConvRun<T>&, const ConvPart&, const T*, T*);                       \
  template void run_pooled_image<T>(const ConvRun<T>&, const ConvPart&, const T*, T*, T*, std::uint8_t*);
DESCENT_INSTANTIATE(float)
DESCENT_INSTANTIATE(double)

}  // namespace descent::cpu
