// How batch normalization cuts [rows, channels] into tasks, by the sizes alone, and the channels'
// moments and gradient sums.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "cpu/norm/kernels.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {

template <class T>
struct BatchPlan {
  static constexpr std::int64_t kBlockElements = 8192;  // summed in T while they are in the L1 or L2 cache
  static constexpr std::int64_t kTaskElements = 1 << 16;
  static constexpr std::int64_t kLongestPeriod = 4096;

  std::int64_t elements, channels;
  std::int64_t period;      // elements of a row as the kernels see it
  std::int64_t rows;        // number of whole rows
  std::int64_t block_rows;  // rows of a block
  std::int64_t task_rows;   // rows of a task, a multiple of block_rows
  std::int64_t tasks;

  BatchPlan(std::int64_t elements_, std::int64_t channels_) : elements(elements_), channels(channels_) {
    // A multiple of four vectors at every SIMD level: a vector has at most 64 bytes.
    period = std::lcm(channels, std::int64_t{256 / sizeof(T)});
    if (period > kLongestPeriod) period = channels;
    rows = elements / period;
    block_rows = std::max<std::int64_t>(16, kBlockElements / period);
    task_rows = std::max<std::int64_t>(1, kTaskElements / (block_rows * period)) * block_rows;
    tasks = std::max<std::int64_t>(1, (rows + task_rows - 1) / task_rows);
  }

  // Calls f(rows, first element) for the blocks of a task; the very last block may be one partial row.
  template <class F>
  void for_blocks(std::int64_t task, const F& f) const {
    const std::int64_t end = std::min(rows, (task + 1) * task_rows);
    for (std::int64_t row = task * task_rows; row < end; row += block_rows) {
      f(NormRows{std::min(block_rows, end - row), period, period}, row * period);
    }
    const std::int64_t left = elements - rows * period;
    if (task == tasks - 1 && left > 0) f(NormRows{1, period, left}, rows * period);
  }
};

// to[j] = value(j % channels) for a whole period.
template <class T, class F>
void repeat(const BatchPlan<T>& plan, T* to, const F& value) {
  for (std::int64_t c = 0; c < plan.channels; ++c) to[c] = static_cast<T>(value(c));
  for (std::int64_t j = plan.channels; j < plan.period; ++j) to[j] = to[j - plan.channels];
}

// Means and sums of squared deviations of the channels, in f64: two passes per block, merged as in Chan et al., 1983.
template <class T>
void batch_moments(const BatchPlan<T>& plan, const T* x, double* mean, double* squares);

// Sums over the rows of dz and of dz * (x - mean), where dz is dy, masked by y > 0 if y is not null.
// `mean` has a whole period.
template <class T>
void batch_gradient_sums(const BatchPlan<T>& plan, const T* x, const T* y, const T* dy, const T* mean, double* sum,
                         double* product);

// totals[c] = the sum over tasks, in their order, of parts[task * stride + c].
inline void add_parts(const double* parts, std::int64_t tasks, std::int64_t stride, std::int64_t n, double* totals) {
  std::fill(totals, totals + n, 0.0);
  for (std::int64_t t = 0; t < tasks; ++t) {
    for (std::int64_t c = 0; c < n; ++c) totals[c] += parts[t * stride + c];
  }
}

template <class T>
const BatchKernels<T>& batch_kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return norm_batch_f32();
  } else {
    return norm_batch_f64();
  }
}

}  // namespace descent::cpu
