// backward_relu_pool, image by image while the image is in the cache. After the pooling three of four gradients are
// zero, and the fourth too if ReLU gave 0: if the kernel's lines are long enough to fill vectors, only the others are
// processed (sparse). Thin inputs and strided, dilated or grouped geometries expand the gradient (for the weights a
// few rows at a time) and take the dense path.
#include <limits>
#include <optional>

#include "cpu/conv/dense.h"
#include "cpu/conv/fast.h"
#include "cpu/conv/filter_pass.h"
#include "cpu/conv/partial.h"

namespace descent::cpu {
namespace {

// Shortest line of a filter, in bytes, for which skipping to the next element that has a gradient pays off; below it
// the dense path is faster. One vector of AVX-512 or two of AVX2; at LeNet-5's 120 bytes both gain.
constexpr std::int64_t kShortestLine = 64;

bool worth_selecting(const ConvShape& s, std::size_t element) {
  Conv2dFuncOptions plain;
  plain.padding_h = s.geometry.padding_h;
  plain.padding_w = s.geometry.padding_w;
  return s.geometry == plain && s.kernel_w * s.channels * static_cast<std::int64_t>(element) >= kShortestLine &&
         s.out_channels <= std::numeric_limits<std::uint16_t>::max();
}

template <class T>
class PooledBackward {
 public:
  PooledBackward(const ConvShape& s, const ConvPlan& plan, const ConvPlan& data_plan, const ConvKernels<T>& kernels,
                 const ConvGradients<T>& to)
      : s_(s), plan_(plan), data_plan_(data_plan), kernels_(kernels), to_(to), dense_filter_(plan, kernels) {
    selecting_ = worth_selecting(s, sizeof(T));
    line_ = s.kernel_w * s.channels;
    pitch_ = (line_ + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
    windows_ = static_cast<std::int64_t>(plan.windows.size());
  }

  void run(const T* x, const T* w, const T* dy, const std::uint8_t* code) {
    prepare_weights(w);
    const ConvPartials<T> partials(s_.images, filter_size() + (to_.dbias != nullptr ? s_.out_channels : 0));
    partials.for_groups([&](std::int64_t first, std::int64_t last, T* partial) {
      Workspace workspace(*this);
      const std::int64_t pooled = windows_ * s_.out_channels;
      for (std::int64_t n = first; n < last; ++n) {
        if (to_.dw != nullptr) {
          const T* source = x + n * s_.image();
          if (workspace.source) {
            fill_source(plan_, source, workspace.source->data());
            source = workspace.source->data();
          }
          filter(source, dy + n * pooled, code + n * pooled, workspace, partial);
        }
        if (to_.dx != nullptr) data(dy + n * pooled, code + n * pooled, workspace, to_.dx + n * s_.image());
        if (to_.dbias != nullptr) {
          kernels_.sum_selected(dy + n * pooled, code + n * pooled, windows_, s_.out_channels, partial + filter_size());
        }
      }
    });
    const T* total = partials.total();
    if (to_.dw != nullptr) write_filter(total);
    if (to_.dbias != nullptr) conv_put(to_.dbias, total + filter_size(), s_.out_channels, to_.write_dbias);
  }

 private:
  struct Workspace {  // of one task
    explicit Workspace(const PooledBackward& of) {
      if (of.to_.dw != nullptr && (of.selecting_ || !of.plan_.in_place)) {
        source.emplace(of.plan_.source_size() + kConvSlack);
        clear_source(of.plan_, source->data());
      }
      if (of.to_.dw != nullptr && !of.selecting_) gathered.emplace(of.dense_filter_.gathered_size());
      if (of.to_.dx != nullptr) {
        const ConvPlan& plan = of.selecting_ ? of.plan_ : of.data_plan_;
        gradient.emplace(plan.source_size() + kConvSlack);
        clear_source(plan, gradient->data());
      }
      if (of.selecting_) {
        list_offset.emplace(of.windows_ * kConvListedChannels);
        list_value.emplace(of.windows_ * kConvListedChannels);
        if (of.to_.dx != nullptr) list_channel.emplace(of.windows_ * 4 * of.s_.out_channels);
      }
    }
    std::optional<Scratch<T>> source, gathered, gradient, list_value;
    std::optional<Scratch<std::int32_t>> list_offset;
    std::optional<Scratch<std::uint16_t>> list_channel;
  };

  std::int64_t filter_size() const {
    if (to_.dw == nullptr) return 0;
    return selecting_ ? s_.out_channels * s_.kernel_h * pitch_ : dense_filter_.partial_size();
  }

  void prepare_weights(const T* w) {
    if (to_.dx == nullptr) return;
    if (!selecting_) {
      weights_.emplace(data_plan_.packed);
      const std::int64_t panels = static_cast<std::int64_t>(data_plan_.panels.size());
      parallel_for(panels,
                   [&](std::int64_t p) { pack_weights<T>(data_plan_, w, nullptr, p, p + 1, weights_->data()); });
    } else if (pitch_ == line_) {
      lines_ = w;
    } else {
      weights_.emplace(s_.out_channels * s_.kernel_h * pitch_);
      for (std::int64_t i = 0; i < s_.out_channels * s_.kernel_h; ++i) {
        std::copy_n(w + i * line_, line_, weights_->data() + i * pitch_);
        std::fill_n(weights_->data() + i * pitch_ + line_, pitch_ - line_, T{0});
      }
      lines_ = weights_->data();
    }
  }

  ConvSparseJob<T> sparse_job(const T* dy, const std::uint8_t* code, const Workspace& workspace) const {
    ConvSparseJob<T> job;
    job.dy = dy;
    job.code = code;
    job.windows = windows_;
    job.channels = s_.out_channels;
    job.place = plan_.windows.data();
    job.row = plan_.row();
    job.column = s_.channels;
    job.kernel_h = s_.kernel_h;
    job.line = line_;
    job.pitch = pitch_;
    job.list_offset = workspace.list_offset->data();
    job.list_value = workspace.list_value->data();
    return job;
  }

  void filter(const T* source, const T* dy, const std::uint8_t* code, const Workspace& workspace, T* partial) const {
    if (!selecting_) return dense_filter_.pooled_image(source, dy, code, workspace.gathered->data(), partial);
    ConvSparseJob<T> job = sparse_job(dy, code, workspace);
    job.x = source;
    job.partial = partial;
    kernels_.sparse_filter(job);
  }

  void data(const T* dy, const std::uint8_t* code, const Workspace& workspace, T* dx) const {
    T* gradient = workspace.gradient->data();
    if (selecting_) {
      clear_source(plan_, gradient);
      ConvSparseJob<T> job = sparse_job(dy, code, workspace);
      job.w = lines_;
      job.dx = gradient;
      job.list_channel = workspace.list_channel->data();
      kernels_.sparse_data(job);
      return write_data(gradient, dx);
    }
    ConvExpandJob<T> expand;
    expand.dy = dy;
    expand.code = code;
    expand.rows = s_.out_height / 2;
    expand.columns = s_.out_width / 2;
    expand.channels = expand.stride = expand.out_column = s_.out_channels;
    expand.out_row = data_plan_.row();
    expand.out = gradient + data_plan_.pad_top * data_plan_.row() + data_plan_.pad_left * s_.out_channels;
    kernels_.expand(expand);
    const ConvRun<T> run{data_plan_, kernels_, weights_->data(), false, to_.write_dx == Write::accumulate};
    const ConvPart all{0, static_cast<std::int64_t>(data_plan_.panels.size()), 0, 1};
    run_image(run, all, static_cast<const T*>(gradient), dx);
  }

  // Copies the padded gradient without its border to dx; where it doesn't reach (odd edges) dx is zero.
  void write_data(const T* gradient, T* dx) const {
    const std::int64_t line = s_.width * s_.channels;
    const std::int64_t rows = std::clamp<std::int64_t>(plan_.source_rows - plan_.pad_top, 0, s_.height);
    const std::int64_t columns = std::clamp<std::int64_t>(plan_.source_columns - plan_.pad_left, 0, s_.width);
    const std::int64_t reached = columns * s_.channels;
    for (std::int64_t r = 0; r < s_.height; ++r, dx += line) {
      if (r < rows) {
        conv_put(dx, gradient + (plan_.pad_top + r) * plan_.row() + plan_.pad_left * s_.channels, reached,
                 to_.write_dx);
      }
      if (to_.write_dx == Write::overwrite) {
        const std::int64_t from = r < rows ? reached : 0;
        std::fill_n(dx + from, line - from, T{0});
      }
    }
  }

  void write_filter(const T* total) const {
    if (!selecting_) return dense_filter_.write(total, to_.dw, to_.write_dw);
    for (std::int64_t i = 0; i < s_.out_channels * s_.kernel_h; ++i) {
      conv_put(to_.dw + i * line_, total + i * pitch_, line_, to_.write_dw);
    }
  }

  const ConvShape& s_;
  const ConvPlan& plan_;
  const ConvPlan& data_plan_;
  const ConvKernels<T>& kernels_;
  const ConvGradients<T>& to_;
  const ConvFilterPass<T> dense_filter_;
  bool selecting_ = false;
  std::int64_t line_ = 0, pitch_ = 0, windows_ = 0;
  std::optional<Scratch<T>> weights_;  // packed, or padded to whole vectors
  const T* lines_ = nullptr;
};

}  // namespace

template <class T>
bool conv_pooled_backward_fast(const ConvShape& s, const T* x, const T* w, const T* dy, const std::uint8_t* code,
                               const ConvGradients<T>& gradients) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const auto plan = conv_plan(ConvDirection::pooled, s, kernels.lanes, kernels.panel_vectors);
  const auto data_plan = conv_plan(ConvDirection::data, s, kernels.lanes, kernels.panel_vectors);
  if (plan == nullptr || data_plan == nullptr || plan->windows.empty()) return false;
  PooledBackward<T>(s, *plan, *data_plan, kernels, gradients).run(x, w, dy, code);
  return true;
}

#define DESCENT_INSTANTIATE(T)                                                                                    \
  template bool conv_pooled_backward_fast<T>(const ConvShape&, const T*, const T*, const T*, const std::uint8_t*, \
                                             const ConvGradients<T>&);
DESCENT_INSTANTIATE(float)
DESCENT_INSTANTIATE(double)

}  // namespace descent::cpu
