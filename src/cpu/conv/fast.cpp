// Forward and backward_data: the same loop over images with different plans. Many images are
// distributed to the threads in groups; few are split by panels of output channels, then by rows, so
// that one image keeps all threads busy.
#include "cpu/conv/fast.h"

#include <algorithm>

#include "cpu/conv/dense.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

struct Partition {
  std::int64_t images = 1;  // of a group
  std::int64_t groups = 1, panel_parts = 1, row_parts = 1;
  std::int64_t tasks() const { return groups * panel_parts * row_parts; }
  bool packs_alone() const { return groups == 1 && row_parts == 1; }  // each task is the only one that uses its panels
};

Partition partition(const ConvPlan& plan, std::int64_t images) {
  constexpr std::int64_t kMostImages = 8;  // of a group: the padding is zeroed once for all of them
  const std::int64_t threads = num_threads(), panels = static_cast<std::int64_t>(plan.panels.size());
  Partition p;
  p.images = std::clamp<std::int64_t>(images / (4 * threads), 1, kMostImages);
  p.groups = (images + p.images - 1) / p.images;
  if (p.groups >= 2 * threads || threads == 1) return p;
  const auto parts = [&](std::int64_t have) { return (threads + have - 1) / have; };
  p.panel_parts = std::min(panels, parts(p.groups));
  p.row_parts = std::min(plan.passes.front().rows, parts(p.groups * p.panel_parts));
  return p;
}

// Calls f(image index, part, source) for every image and part. The sources are padded unless the plan is in place.
template <class T, class F>
void for_images(const ConvRun<T>& run, const T* w, const T* bias, T* packed, std::int64_t images, const T* source,
                const F& f) {
  const ConvPlan& plan = run.plan;
  const Partition cut = partition(plan, images);
  const std::int64_t panels = static_cast<std::int64_t>(plan.panels.size());
  if (!cut.packs_alone()) {
    parallel_for(panels, [&](std::int64_t p) { pack_weights(plan, w, bias, p, p + 1, packed); });
  }
  const std::int64_t image_size = plan.real_rows * plan.real_columns * plan.source_channels;
  parallel_for(cut.tasks(), [&](std::int64_t task) {
    const std::int64_t group = task / (cut.panel_parts * cut.row_parts),
                       rest = task % (cut.panel_parts * cut.row_parts);
    const std::int64_t part = rest / cut.row_parts;
    const ConvPart mine{panels * part / cut.panel_parts, panels * (part + 1) / cut.panel_parts, rest % cut.row_parts,
                        cut.row_parts};
    if (cut.packs_alone()) pack_weights(plan, w, bias, mine.panel, mine.last_panel, packed);
    const std::int64_t last = std::min(images, (group + 1) * cut.images);
    const Scratch<T> padded(plan.in_place ? 1 : plan.source_size() + kConvSlack);
    if (!plan.in_place) clear_source(plan, padded.data());
    for (std::int64_t n = group * cut.images; n < last; ++n) {
      const T* image = source + n * image_size;
      if (!plan.in_place) fill_source(plan, image, padded.data());
      f(n, mine, plan.in_place ? image : padded.data());
    }
  });
}

template <class T>
bool dense(ConvDirection direction, const ConvShape& s, const T* source, const T* w, const T* bias, bool relu,
           bool accumulate, T* target) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const auto plan = conv_plan(direction, s, kernels.lanes, kernels.panel_vectors);
  if (plan == nullptr) return false;
  const Scratch<T> packed(plan->packed);
  const ConvRun<T> run{*plan, kernels, packed.data(), relu, accumulate};
  const std::int64_t image = direction == ConvDirection::data ? s.image() : s.out_image();
  for_images(run, w, bias, packed.data(), s.images, source, [&](std::int64_t n, const ConvPart& part, const T* from) {
    run_image(run, part, from, target + n * image);
  });
  return true;
}

}  // namespace

template <class T>
bool conv_forward_fast(const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation, T* y) {
  return dense(ConvDirection::forward, s, x, w, bias, activation == Activation::relu, false, y);
}

template <class T>
bool conv_data_fast(const ConvShape& s, const T* dy, const T* w, T* dx, Write write) {
  return dense<T>(ConvDirection::data, s, dy, w, nullptr, false, write == Write::accumulate, dx);
}

template <class T>
bool conv_pooled_fast(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, std::uint8_t* code) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const auto plan = conv_plan(ConvDirection::pooled, s, kernels.lanes, kernels.panel_vectors);
  if (plan == nullptr) return false;
  const Scratch<T> packed(plan->packed);
  const ConvRun<T> run{*plan, kernels, packed.data(), true, false};
  const std::int64_t image = static_cast<std::int64_t>(plan->windows.size()) * s.out_channels;
  for_images(run, w, bias, packed.data(), s.images, x, [&](std::int64_t n, const ConvPart& part, const T* from) {
    const Scratch<T> tile(pooled_tile_size(*plan, sizeof(T)));
    run_pooled_image(run, part, from, tile.data(), y + n * image, code + n * image);
  });
  return true;
}

#define DESCENT_INSTANTIATE(T)                                                                        \
  template bool conv_forward_fast<T>(const ConvShape&, const T*, const T*, const T*, Activation, T*); \
  template bool conv_data_fast<T>(const ConvShape&, const T*, const T*, T*, Write);                   \
  template bool conv_pooled_fast<T>(const ConvShape&, const T*, const T*, const T*, T*, std::uint8_t*);
DESCENT_INSTANTIATE(float)
DESCENT_INSTANTIATE(double)

}  // namespace descent::cpu
