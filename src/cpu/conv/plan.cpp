// Builds plans. The idea: an output pixel's patch is a fixed set of offsets from the pixel's position in the padded
// source. For dx (where y = stride * t + phase) this holds for each phase separately, with the taps that reach it.
#include "cpu/conv/plan.h"

#include <algorithm>
#include <array>
#include <limits>

namespace descent::cpu {
namespace {

constexpr std::int64_t kLongestSegment = 512;  // taps are not merged beyond this: chains are cut only between segments
constexpr std::int64_t kShortestSegment = 8;   // shorter ones are read element by element, which is cheaper
constexpr std::int64_t kMostPasses = 1024;
constexpr std::size_t kCachedPlans = 32;

struct Axis {  // one of the two image axes
  std::int64_t size, out_size, kernel, stride, pad, dilation;
};

Axis rows_of(const ConvShape& s) {
  const Conv2dFuncOptions& g = s.geometry;
  return {s.height, s.out_height, s.kernel_h, g.stride_h, g.padding_h, g.dilation_h};
}
Axis columns_of(const ConvShape& s) {
  const Conv2dFuncOptions& g = s.geometry;
  return {s.width, s.out_width, s.kernel_w, g.stride_w, g.padding_w, g.dilation_w};
}

// Along one axis: pixel t of `count` reads source position t * step + reach[i].at through kernel element reach[i].k.
struct AxisMap {
  struct Reach {
    std::int64_t k, at;
  };
  std::int64_t count = 0, step = 1;
  std::int64_t first = 0, target_step = 1;  // position of pixel t in the target: first + t * target_step
  std::vector<Reach> reach;                 // in ascending order of `at`
};

AxisMap forward_map(const Axis& a, bool whole_windows) {
  AxisMap m{.count = whole_windows ? a.out_size / 2 * 2 : a.out_size, .step = a.stride, .reach = {}};
  for (std::int64_t k = 0; k < a.kernel; ++k) m.reach.push_back({k, k * a.dilation - a.pad});
  return m;
}

AxisMap data_map(const Axis& a, std::int64_t phase) {
  AxisMap m{.count = (a.size - phase + a.stride - 1) / a.stride, .first = phase, .target_step = a.stride, .reach = {}};
  for (std::int64_t k = a.kernel - 1; k >= 0; --k) {
    const std::int64_t distance = phase + a.pad - k * a.dilation;
    if (distance % a.stride == 0) m.reach.push_back({k, distance / a.stride});
  }
  return m;
}

struct Extent {
  std::int64_t low = 0, high = 0;  // positions that are read: [low, high)
  void include(const AxisMap& m) {
    if (m.count <= 0 || m.reach.empty()) return;
    low = std::min(low, m.reach.front().at);
    high = std::max(high, (m.count - 1) * m.step + m.reach.back().at + 1);
  }
};

void set_segments(ConvPass& pass, const AxisMap& across, std::int64_t group, std::int64_t channels) {
  const std::int64_t taps_across = static_cast<std::int64_t>(across.reach.size());
  bool adjacent = group == channels;
  for (std::size_t i = 1; i < across.reach.size(); ++i) adjacent &= across.reach[i].at == across.reach[i - 1].at + 1;
  const bool whole_rows = adjacent && taps_across * group <= kLongestSegment;
  const std::int64_t run = whole_rows ? taps_across * group : group;
  const std::size_t every = whole_rows && taps_across > 0 ? static_cast<std::size_t>(taps_across) : 1;
  pass.length = run < kShortestSegment ? 1 : run;
  for (std::size_t t = 0; t < pass.taps.size(); t += every) {
    for (std::int64_t i = 0; i < run; i += pass.length) {
      pass.segments.push_back(pass.taps[t].offset + static_cast<std::int32_t>(i));
    }
  }
  pass.depth = static_cast<std::int64_t>(pass.segments.size()) * pass.length;
}

ConvPass make_pass(const ConvPlan& plan, const AxisMap& down, const AxisMap& across, std::int64_t target_width) {
  ConvPass pass;
  pass.rows = std::max<std::int64_t>(0, down.count);
  pass.columns = std::max<std::int64_t>(0, across.count);
  const auto source = [&](std::int64_t row, std::int64_t column) {
    return static_cast<std::int32_t>(row * plan.row() + column * plan.source_channels);
  };
  // The taps' offsets include the padding, so that neither a pixel's nor a tap's offset is negative.
  for (std::int64_t r = 0; r < pass.rows; ++r) {
    for (std::int64_t q = 0; q < pass.columns; ++q) {
      pass.source.push_back(source(r * down.step, q * across.step));
      const std::int64_t y = down.first + r * down.target_step, x = across.first + q * across.target_step;
      const std::int64_t place = plan.direction == ConvDirection::pooled
                                     ? (r * pass.columns + q) * plan.panel_width()
                                     : (y * target_width + x) * plan.target_channels;
      pass.target.push_back(static_cast<std::int32_t>(place));
    }
  }
  for (const AxisMap::Reach& y : down.reach) {
    for (const AxisMap::Reach& x : across.reach) {
      pass.taps.push_back({y.k, x.k, source(y.at + plan.pad_top, x.at + plan.pad_left)});
    }
  }
  set_segments(pass, across, plan.source_group, plan.source_channels);
  return pass;
}

void set_panels(ConvPlan& plan) {
  const std::int64_t vectors = (plan.target_group + plan.lanes - 1) / plan.lanes;
  const std::int64_t pieces = (vectors + plan.panel_vectors - 1) / plan.panel_vectors;
  for (std::int64_t group = 0; group < plan.shape.geometry.groups; ++group) {
    for (std::int64_t i = 0; i < pieces; ++i) {
      const std::int64_t first = vectors * i / pieces, last = vectors * (i + 1) / pieces;
      const std::int64_t channels = std::min(plan.target_group, last * plan.lanes) - first * plan.lanes;
      plan.panels.push_back(
          {group, group * plan.target_group + first * plan.lanes, channels, last - first, plan.columns});
      plan.columns += (last - first) * plan.lanes;
    }
  }
}

void set_pooled_windows(ConvPlan& plan) {
  const ConvPass& pass = plan.passes.front();
  for (std::int64_t r = 0; r < pass.rows; r += 2) {
    for (std::int64_t q = 0; q < pass.columns; q += 2) {
      plan.windows.push_back(pass.source[static_cast<std::size_t>(r * pass.columns + q)]);
    }
  }
}

std::shared_ptr<const ConvPlan> make_plan(ConvDirection direction, const ConvShape& s, std::int64_t lanes,
                                          std::int64_t panel_vectors) {
  const auto made = std::make_shared<ConvPlan>();
  ConvPlan& plan = *made;
  plan.shape = s;
  plan.direction = direction;
  plan.lanes = lanes;
  plan.panel_vectors = panel_vectors;
  const bool data = direction == ConvDirection::data;
  std::vector<AxisMap> down, across;
  if (data) {
    const std::int64_t phases_down = std::min(s.geometry.stride_h, s.height);
    const std::int64_t phases_across = std::min(s.geometry.stride_w, s.width);
    if (phases_down > kMostPasses / phases_across) return nullptr;
    for (std::int64_t phase = 0; phase < phases_down; ++phase) down.push_back(data_map(rows_of(s), phase));
    for (std::int64_t phase = 0; phase < phases_across; ++phase) across.push_back(data_map(columns_of(s), phase));
  } else {
    down.push_back(forward_map(rows_of(s), direction == ConvDirection::pooled));
    across.push_back(forward_map(columns_of(s), direction == ConvDirection::pooled));
  }
  Extent rows, columns;
  for (const AxisMap& m : down) rows.include(m);
  for (const AxisMap& m : across) columns.include(m);

  plan.real_rows = data ? s.out_height : s.height;
  plan.real_columns = data ? s.out_width : s.width;
  plan.source_channels = data ? s.out_channels : s.channels;
  plan.target_channels = data ? s.channels : s.out_channels;
  plan.source_group = data ? s.out_group() : s.in_group();
  plan.target_group = data ? s.in_group() : s.out_group();
  plan.in_place = rows.low == 0 && columns.low == 0 && rows.high <= plan.real_rows && columns.high <= plan.real_columns;
  plan.pad_top = -rows.low;
  plan.pad_left = -columns.low;
  plan.source_rows = plan.in_place ? plan.real_rows : rows.high - rows.low;
  plan.source_columns = plan.in_place ? plan.real_columns : columns.high - columns.low;

  constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
  if (plan.source_rows > kLargest || plan.source_columns > kLargest / plan.source_channels) return nullptr;
  if (plan.source_rows > kLargest / plan.row() || std::max(s.image(), s.out_image()) > kLargest) return nullptr;
  set_panels(plan);
  for (const AxisMap& y : down) {
    for (const AxisMap& x : across) {
      ConvPass pass = make_pass(plan, y, x, data ? s.width : s.out_width);
      pass.packed = plan.packed;
      plan.packed += plan.columns * (pass.depth + 1);
      plan.passes.push_back(std::move(pass));
    }
  }
  if (direction == ConvDirection::pooled) set_pooled_windows(plan);
  return made;
}

}  // namespace

std::shared_ptr<const ConvPlan> conv_plan(ConvDirection direction, ConvShape shape, std::int64_t lanes,
                                          std::int64_t panel_vectors) {
  thread_local std::array<std::shared_ptr<const ConvPlan>, kCachedPlans> cache;
  thread_local std::size_t oldest = 0;
  shape.images = 0;
  for (const auto& plan : cache) {
    if (plan && plan->direction == direction && plan->lanes == lanes && plan->shape == shape) return plan;
  }
  std::shared_ptr<const ConvPlan> plan = make_plan(direction, shape, lanes, panel_vectors);
  cache[oldest] = plan;
  oldest = (oldest + 1) % kCachedPlans;
  return plan;
}

}  // namespace descent::cpu
