// The weight gradient of one image, accumulated panel by panel, and its copy from the panels' layout into dw.
#include "cpu/conv/filter_pass.h"

#include <algorithm>

#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kLongestSum = 256;  // pixels in one chain of multiply-adds

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

template <class T>
ConvFilterPass<T>::ConvFilterPass(const ConvPlan& plan, const ConvKernels<T>& kernels)
    : plan_(plan), pass_(plan.passes.front()), kernels_(kernels), k_offset_(std::max<std::int64_t>(1, pass_.depth)) {
  for (std::int64_t k = 0; k < pass_.depth; ++k) {
    k_offset_[k] = pass_.segments[at(k / pass_.length)] + static_cast<std::int32_t>(k % pass_.length);
  }
}

template <class T>
std::int64_t ConvFilterPass<T>::rows_at_once() const {
  const std::int64_t rows = std::max<std::int64_t>(1, kLongestSum / std::max<std::int64_t>(1, pass_.columns));
  return plan_.direction == ConvDirection::pooled ? std::max<std::int64_t>(2, rows / 2 * 2) : rows;
}

template <class T>
ConvFilterJob<T> ConvFilterPass<T>::panel_job(const ConvPanel& panel, const T* source, T* partial) const {
  const Conv2dFuncOptions& g = plan_.shape.geometry;
  ConvFilterJob<T> job;
  job.x = source + panel.group * plan_.source_group;
  job.k_offset = k_offset_.data();
  job.depth = pass_.depth;
  job.columns = pass_.columns;
  job.x_row = g.stride_h * plan_.row();
  job.x_column = g.stride_w * plan_.source_channels;
  job.vectors = panel.vectors;
  job.partial = partial + panel.column * pass_.depth;
  return job;
}

template <class T>
void ConvFilterPass<T>::image(const T* source, const T* dy, T* gathered, T* partial) const {
  const std::int64_t step = rows_at_once();
  for (std::int64_t row = 0; row < pass_.rows; row += step) {
    const std::int64_t rows = std::min(step, pass_.rows - row), pixels = rows * pass_.columns;
    for (const ConvPanel& panel : plan_.panels) {
      ConvFilterJob<T> job = panel_job(panel, source, partial);
      job.rows = rows;
      job.x += row * job.x_row;
      job.dy = dy + row * pass_.columns * plan_.target_channels + panel.channel;
      if (plan_.target_channels != panel.channels || panel.channels != panel.vectors * plan_.lanes) {
        kernels_.gather(job.dy, plan_.target_channels, panel.channels, pixels, gathered);
        job.dy = gathered;
      }
      kernels_.filter(job);
    }
  }
}

template <class T>
void ConvFilterPass<T>::pooled_image(const T* source, const T* dy, const std::uint8_t* code, T* gathered,
                                     T* partial) const {
  const std::int64_t step = rows_at_once(), windows = pass_.columns / 2;
  for (const ConvPanel& panel : plan_.panels) {
    const std::int64_t width = panel.vectors * plan_.lanes;
    ConvExpandJob<T> expand;
    expand.columns = windows;
    expand.channels = panel.channels;
    expand.stride = plan_.target_channels;
    expand.out = gathered;
    expand.out_row = pass_.columns * width;
    expand.out_column = width;
    expand.whole_vectors = true;
    if (panel.channels != width) std::fill_n(gathered, step * pass_.columns * width, T{0});
    for (std::int64_t row = 0; row < pass_.rows; row += step) {
      const std::int64_t place = row / 2 * windows * plan_.target_channels + panel.channel;
      expand.rows = std::min(step, pass_.rows - row) / 2;
      expand.dy = dy + place;
      expand.code = code + place;
      kernels_.expand(expand);
      ConvFilterJob<T> job = panel_job(panel, source, partial);
      job.rows = 2 * expand.rows;
      job.x += row * job.x_row;
      job.dy = gathered;
      kernels_.filter(job);
    }
  }
}

template <class T>
void ConvFilterPass<T>::write(const T* total, T* dw, Write write) const {
  parallel_for(static_cast<std::int64_t>(plan_.panels.size()), [&](std::int64_t p) {
    const ConvPanel& panel = plan_.panels[at(p)];
    const std::int64_t width = panel.vectors * plan_.lanes;
    const T* from = total + panel.column * pass_.depth;
    for (std::int64_t j = 0; j < panel.channels; ++j) {
      T* to = dw + (panel.channel + j) * pass_.depth;
      for (std::int64_t k = 0; k < pass_.depth; ++k) {
        const T value = from[k * width + j];
        to[k] = write == Write::accumulate ? to[k] + value : value;
      }
    }
  });
}

template class ConvFilterPass<float>;
template class ConvFilterPass<double>;

}  // namespace descent::cpu
