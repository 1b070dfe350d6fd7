// Moments and gradient sums of the channels in one read from memory: blocks in T, everything above them in f64.
#include "cpu/norm/plan.h"

namespace descent::cpu {
namespace {

// Merges another group of `more` values per channel into (mean, squares) of `count` values (Chan et al., 1983).
void merge(double count, double* mean, double* squares, double more, const double* other_mean,
           const double* other_squares, std::int64_t channels) {
  const double total = count + more, share = more / total, weight = count * share;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double difference = other_mean[c] - mean[c];
    mean[c] += difference * share;
    squares[c] += other_squares[c] + difference * difference * weight;
  }
}

}  // namespace

template <class T>
void batch_moments(const BatchPlan<T>& plan, const T* x, double* mean, double* squares) {
  const std::int64_t channels = plan.channels, period = plan.period;
  const Scratch<double> parts(plan.tasks * 2 * channels);
  const auto values_of = [&](std::int64_t task) {  // values per channel in a task
    const std::int64_t first = task * plan.task_rows * period;
    const std::int64_t last = task == plan.tasks - 1 ? plan.elements : (task + 1) * plan.task_rows * period;
    const std::int64_t rows = (last - first) / channels;
    return static_cast<double>(rows);
  };
  parallel_for(plan.tasks, [&](std::int64_t task) {
    const Scratch<T> work(2 * period);
    const Scratch<double> block(2 * period);
    T* const sums = work.data();
    T* const center = sums + period;
    double* const block_mean = block.data();
    double* const block_squares = block_mean + period;
    double* const task_mean = parts.data() + task * 2 * channels;
    double* const task_squares = task_mean + channels;
    std::fill(task_mean, task_mean + 2 * channels, 0.0);
    double count = 0;
    plan.for_blocks(task, [&](const NormRows& r, std::int64_t at) {
      const double rows = static_cast<double>(r.rows);
      batch_kernels<T>().sums(r, x + at, sums);
      for (std::int64_t j = 0; j < r.width; ++j) {
        block_mean[j] = static_cast<double>(sums[j]) / rows;
        center[j] = static_cast<T>(block_mean[j]);
      }
      batch_kernels<T>().square_deviations(r, x + at, center, sums);
      for (std::int64_t j = 0; j < r.width; ++j) block_squares[j] = static_cast<double>(sums[j]);
      for (std::int64_t j = 0; j < r.width; j += channels) {
        merge(count, task_mean, task_squares, rows, block_mean + j, block_squares + j, channels);
        count += rows;
      }
    });
  });
  std::fill(mean, mean + channels, 0.0);
  std::fill(squares, squares + channels, 0.0);
  double count = 0;
  if (plan.elements == 0) return;
  for (std::int64_t task = 0; task < plan.tasks; ++task) {
    const double* const part = parts.data() + task * 2 * channels;
    merge(count, mean, squares, values_of(task), part, part + channels, channels);
    count += values_of(task);
  }
}

template <class T>
void batch_gradient_sums(const BatchPlan<T>& plan, const T* x, const T* y, const T* dy, const T* mean, double* sum,
                         double* product) {
  const std::int64_t channels = plan.channels, period = plan.period;
  const Scratch<double> parts(plan.tasks * 2 * channels);
  parallel_for(plan.tasks, [&](std::int64_t task) {
    const Scratch<T> work(2 * period);
    T* const sums = work.data();
    T* const products = sums + period;
    double* const part = parts.data() + task * 2 * channels;
    std::fill(part, part + 2 * channels, 0.0);
    plan.for_blocks(task, [&](const NormRows& r, std::int64_t at) {
      batch_kernels<T>().gradient_sums(r, x + at, y != nullptr ? y + at : nullptr, dy + at, mean, sums, products);
      for (std::int64_t j = 0; j < r.width; j += channels) {
        for (std::int64_t c = 0; c < channels; ++c) {
          part[c] += static_cast<double>(sums[j + c]);
          part[channels + c] += static_cast<double>(products[j + c]);
        }
      }
    });
  });
  add_parts(parts.data(), plan.tasks, 2 * channels, channels, sum);
  add_parts(parts.data() + channels, plan.tasks, 2 * channels, channels, product);
}

template void batch_moments(const BatchPlan<float>&, const float*, double*, double*);
template void batch_moments(const BatchPlan<double>&, const double*, double*, double*);
template void batch_gradient_sums(const BatchPlan<float>&, const float*, const float*, const float*, const float*,
                                  double*, double*);
template void batch_gradient_sums(const BatchPlan<double>&, const double*, const double*, const double*, const double*,
                                  double*, double*);

}  // namespace descent::cpu
