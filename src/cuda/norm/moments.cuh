// Mean and variance in one read: every thread sums deviations from the first value that it reads and converts them to
// (count, mean, sum of squared deviations from the mean), which are merged (Chan, Golub and LeVeque, 1983).
#pragma once

#include "cuda/norm/columns.cuh"

namespace descent::gpu {

struct NormMoments {
  double count = 0, mean = 0, squares = 0;

  __device__ void merge(const NormMoments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, share = other.count / total, difference = other.mean - mean;
    mean += difference * share;
    squares += other.squares + difference * difference * (count * share);
    count = total;
  }
  __device__ NormMoments shuffle_down(int by) const {
    NormMoments other;
    other.count = __shfl_down_sync(0xFFFFFFFFu, count, by);
    other.mean = __shfl_down_sync(0xFFFFFFFFu, mean, by);
    other.squares = __shfl_down_sync(0xFFFFFFFFu, squares, by);
    return other;
  }
};

// For n values whose first is the shift, sum^2 <= (n - 1) squares. So the difference in moments() is at least 1 / n of
// `squares` and is not lost to cancellation, however far the values are from 0 and whichever came first. This takes
// f64, at four operations per value; error-free sums in f32 would take some 24.
template <class T>
struct ShiftedSums {
  double shift = 0;
  WideSum<T> sum, squares;

  // An infinite shift would make the mean NaN instead of infinite.
  __device__ void begin(T first) { shift = isfinite(first) ? static_cast<double>(first) : 0.0; }
  __device__ void add(T value) {
    const double difference = static_cast<double>(value) - shift;
    sum.add(difference);
    squares.add(difference * difference);
  }
  __device__ NormMoments moments(std::int64_t n) const {
    NormMoments m;
    if (n == 0) return m;
    m.count = static_cast<double>(n);
    m.mean = shift + sum.value() / m.count;
    m.squares = squares.value() - sum.value() * (sum.value() / m.count);
    return m;
  }
};

template <class T, class W>
struct MomentsBody {
  static constexpr int kInFlight = 4;
  using Item = Pack<Wide<T>, W::kN>;
  const T* x;  // starts at the thread's first channel
  std::int64_t channels;
  ShiftedSums<Wide<T>> sums[W::kN];

  __device__ Item load(std::int64_t row) const { return load_group<T, W>(x + row * channels); }
  __device__ void use(std::int64_t, const Item& item) {
    for (int v = 0; v < W::kN; ++v) sums[v].add(item.v[v]);
  }
};

// Writes parts[2][channels][chunks]: the means of the chunks, then their squares. A thread takes W::kN channels and
// every row_lanes-th row of a chunk. Reads x once; accumulates in WideSum.
template <class T, class W>
__global__ void batch_moments_kernel(NormColumns c, const T* x, double* parts) {
  NormMoments* const shared = dynamic_shared<NormMoments>();
  const std::int64_t channels = c.groups * W::kN;
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    MomentsBody<T, W> body;
    body.x = x + p.group * W::kN;
    body.channels = channels;
    if (p.count > 0) {
      const Pack<Wide<T>, W::kN> first = body.load(p.row);
      for (int v = 0; v < W::kN; ++v) body.sums[v].begin(first.v[v]);
    }
    walk_rows(c, p, body);
    for (int v = 0; v < W::kN; ++v) {
      const NormMoments m = merge_row_lanes(c, body.sums[v].moments(p.count), shared);
      if (!p.first_lane) continue;
      const std::int64_t at = (p.group * W::kN + v) * c.chunks + p.chunk;
      parts[at] = m.mean;
      parts[channels * c.chunks + at] = m.squares;
    }
  }
}

template <class T>
struct BatchParameters {  // from BatchNormState
  const T *gamma, *beta;
  T *running_mean, *running_var;
  double momentum, eps;
};

template <class T>
struct ChannelScale {  // y = (x - mean) * scale + shift
  const T *mean, *scale, *shift;
};

template <class T>
__device__ void update_running(T* running, std::int64_t channel, double momentum, double batch) {
  if (running == nullptr) return;
  running[channel] = static_cast<T>((1 - momentum) * static_cast<double>(running[channel]) + momentum * batch);
}

// A team (MergeTeam) per channel merges the chunks. Reads 16 bytes per chunk and channel. Without rows, mean and
// variance are 0 and the running statistics do not change.
template <class T>
__global__ void batch_statistics_kernel(bool block, NormColumns c, std::int64_t channels, const double* parts,
                                        BatchParameters<T> p, T* mean, T* inv_std, T* scale, T* shift) {
  NormMoments* const shared = dynamic_shared<NormMoments>();
  const MergeTeam team(block);
  for (std::int64_t channel = team.first; channel < channels; channel += team.step) {
    NormMoments m;
    for (std::int64_t chunk = team.member; chunk < c.chunks; chunk += team.size) {
      const std::int64_t left = c.rows - chunk * c.chunk_rows, at = channel * c.chunks + chunk;
      NormMoments part;
      part.count = static_cast<double>(left < c.chunk_rows ? left : c.chunk_rows);
      part.mean = parts[at];
      part.squares = parts[channels * c.chunks + at];
      m.merge(part);
    }
    m = team.merge(m, shared);
    if (team.member == 0) {
      const double count = c.rows > 1 ? static_cast<double>(c.rows) : 1.0;
      const double unbiased = c.rows > 2 ? static_cast<double>(c.rows - 1) : 1.0;
      const T inverse = static_cast<T>(1 / sqrt(m.squares / count + p.eps));
      mean[channel] = static_cast<T>(m.mean);
      inv_std[channel] = inverse;
      scale[channel] = static_cast<T>(static_cast<double>(inverse) *
                                      (p.gamma != nullptr ? static_cast<double>(p.gamma[channel]) : 1.0));
      shift[channel] = p.beta != nullptr ? p.beta[channel] : T(0);
      if (c.rows > 0) {
        update_running(p.running_mean, channel, p.momentum, m.mean);
        update_running(p.running_var, channel, p.momentum, m.squares / unbiased);
      }
    }
  }
}

// Computes the statistics of x [rows, channels] and the scale and shift [channels] for the normalization pass.
template <class T>
void batch_statistics(Stream& stream, std::int64_t rows, std::int64_t channels, const BatchParameters<Wide<T>>& p,
                      const T* x, Wide<T>* mean, Wide<T>* inv_std, Wide<T>* scale, Wide<T>* shift) {
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(rows, channels / W::kN);
    const Scratch<double> parts(stream, 2 * channels * c.chunks);
    launch_columns(stream, "batch_moments", batch_moments_kernel<T, W>, c, sizeof(NormMoments), x, parts.data());
    launch_merges(stream, "batch_statistics", batch_statistics_kernel<Wide<T>>, channels, c.chunks, sizeof(NormMoments),
                  c, channels, parts.data(), p, mean, inv_std, scale, shift);
  };
  with_norm_width<T>(channels, run, x);
}

}  // namespace descent::gpu
