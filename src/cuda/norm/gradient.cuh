// Batch normalization backward. Two ordered stages sum dz and dz * deviation over the rows of every channel; the second
// also writes dgamma, dbeta and the coefficients of the pass that writes dx.
#pragma once

#include "backend/backend.h"
#include "cuda/norm/moments.cuh"

namespace descent::gpu {

template <class T>
struct GradientInto {  // from Grad; null: not requested
  T* data = nullptr;
  bool accumulate = false;
};

template <class T>
__device__ void put_gradient(const GradientInto<T>& into, std::int64_t i, double value) {
  if (into.data == nullptr) return;
  into.data[i] = static_cast<T>(into.accumulate ? static_cast<double>(into.data[i]) + value : value);
}

template <class T, class State = Sum<T>>
struct GradientSums {
  State sum, product;

  __device__ void add(T dz, T deviation) {
    sum.add(dz);
    product.add(rounded_product(dz, deviation));
  }
  __device__ void merge(const GradientSums& other) {
    sum.merge(other.sum);
    product.merge(other.product);
  }
  __device__ GradientSums shuffle_down(int by) const {
    GradientSums other;
    other.sum = sum.shuffle_down(by);
    other.product = product.shuffle_down(by);
    return other;
  }
};

template <class T>
using GradientTotals = GradientSums<T, WideSum<T>>;  // sums over chunks

// Terms defines what is summed: Item (a thread's elements of one row, with .dz), load(row, channel),
// deviation(item, v, mean) and kInFlight.
template <class T, class W, class Terms>
struct GradientSumsBody {
  static constexpr int kInFlight = Terms::kInFlight;
  using Item = typename Terms::Item;
  const Terms& terms;
  std::int64_t channel;
  Pack<T, W::kN> mean;
  GradientSums<T> sums[W::kN];

  __device__ Item load(std::int64_t row) const { return terms.load(row, channel); }
  __device__ void use(std::int64_t, const Item& item) {
    for (int v = 0; v < W::kN; ++v) {
      sums[v].add(item.dz.v[v], terms.deviation(item, v, mean.v[v]));
    }
  }
};

// Writes parts[2][channels][chunks]: sums of dz, then sums of dz * deviation. Work is split as in batch_moments_kernel.
// Reads the inputs of the terms once; accumulates in Sum<T>. `mean`: [channels] or null.
template <class T, class W, class Terms>
__global__ void gradient_sums_kernel(NormColumns c, Terms terms, const T* mean, double* parts) {
  GradientSums<T>* const shared = dynamic_shared<GradientSums<T>>();
  const std::int64_t channels = c.groups * W::kN;
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    const std::int64_t channel = p.group * W::kN;
    GradientSumsBody<T, W, Terms> body{
        terms, channel, channel_values<T, W>(p.inside ? mean : nullptr, channel, T(0)), {}};
    walk_rows(c, p, body);
    for (int v = 0; v < W::kN; ++v) {
      const GradientSums<T> total = merge_row_lanes(c, body.sums[v], shared);
      if (!p.first_lane) continue;
      const std::int64_t at = (channel + v) * c.chunks + p.chunk;
      parts[at] = total.sum.value();
      parts[channels * c.chunks + at] = total.product.value();
    }
  }
}

template <class T, class W, class Terms>
void gradient_sums(Stream& stream, const char* name, const NormColumns& c, const Terms& terms, const T* mean,
                   double* parts) {
  launch_columns(stream, name, gradient_sums_kernel<T, W, Terms>, c, sizeof(GradientSums<T>), terms, mean, parts);
}

// A channel's sums over its chunks, valid in the team's member 0.
template <class T>
__device__ GradientTotals<T> merge_gradient_parts(const MergeTeam& team, std::int64_t channels, std::int64_t chunks,
                                                  std::int64_t channel, const double* parts,
                                                  GradientTotals<T>* shared) {
  GradientTotals<T> total;
  for (std::int64_t chunk = team.member; chunk < chunks; chunk += team.size) {
    const std::int64_t at = channel * chunks + chunk;
    total.sum.add(parts[at]);
    total.product.add(parts[channels * chunks + at]);
  }
  return team.merge(total, shared);
}

template <class T>
struct BatchSaved {  // what forward saved; gamma may be null
  const T *gamma, *mean, *inv_std;
};

template <class T>
struct ChannelGradient {  // dx = scale dz - offset - slope (x - mean); null slope: the statistics were constants
  const T *mean, *scale, *offset, *slope;
};

template <class T>
struct ChannelGradientOut {
  T *scale, *offset, *slope;  // scale null: dx is not requested
};

// A team (MergeTeam) per channel merges the chunks; without chunks the sums are 0. Reads 16 bytes per chunk and
// channel. `rows`: number of rows of x.
template <class T>
__global__ void batch_gradient_finish_kernel(bool block, std::int64_t channels, std::int64_t chunks,
                                             const double* parts, std::int64_t rows, BatchSaved<T> saved,
                                             GradientInto<T> dgamma, GradientInto<T> dbeta, ChannelGradientOut<T> out) {
  GradientTotals<T>* const shared = dynamic_shared<GradientTotals<T>>();
  const MergeTeam team(block);
  for (std::int64_t channel = team.first; channel < channels; channel += team.step) {
    const GradientTotals<T> total = merge_gradient_parts(team, channels, chunks, channel, parts, shared);
    if (team.member == 0) {
      const double sum = total.sum.value(), product = total.product.value();
      const double inv_std = static_cast<double>(saved.inv_std[channel]);
      put_gradient(dgamma, channel, product * inv_std);
      put_gradient(dbeta, channel, sum);
      const double gamma = saved.gamma != nullptr ? static_cast<double>(saved.gamma[channel]) : 1.0;
      const double scale = inv_std * gamma, count = static_cast<double>(rows);
      if (out.scale != nullptr) out.scale[channel] = static_cast<T>(scale);
      if (out.slope != nullptr) {
        out.offset[channel] = static_cast<T>(scale * sum / count);
        out.slope[channel] = static_cast<T>(scale * product * inv_std * inv_std / count);
      }
    }
  }
}

template <class T, class W>
struct GradientWriter {  // coefficients of one thread's channels
  Pack<T, W::kN> mean, scale, offset, slope;

  __device__ GradientWriter(const ChannelGradient<T>& g, std::int64_t channel)
      : mean(channel_values<T, W>(g.mean, channel, T(0))),
        scale(channel_values<T, W>(g.scale, channel, T(1))),
        offset(channel_values<T, W>(g.offset, channel, T(0))),
        slope(channel_values<T, W>(g.slope, channel, T(0))) {}
  __device__ T gradient(int v, T dz, T x) const {
    return scale.v[v] * dz - (offset.v[v] + slope.v[v] * (x - mean.v[v]));
  }
};

// dz: dy where ReLU passed the value (NaN counts as passed), else 0. Without an activation (null y), dy.
template <class T, class W>
__device__ Pack<Wide<T>, W::kN> masked_gradient(const T* y, const T* dy, std::int64_t at) {
  using V = Wide<T>;
  Pack<V, W::kN> dz = load_group<T, W>(dy + at);
  if (y == nullptr) return dz;
  const Pack<V, W::kN> out = load_group<T, W>(y + at);
  for (int v = 0; v < W::kN; ++v) dz.v[v] = out.v[v] <= V(0) ? V(0) : dz.v[v];
  return dz;
}

template <class T, class W>
struct BatchTerms {
  static constexpr int kInFlight = 4;
  const T *x, *y, *dy;  // y null: no activation
  std::int64_t channels;
  struct Item {
    Pack<Wide<T>, W::kN> x, dz;
  };

  __device__ Item load(std::int64_t row, std::int64_t channel) const {
    const std::int64_t at = row * channels + channel;
    return {load_group<T, W>(x + at), masked_gradient<T, W>(y, dy, at)};
  }
  __device__ Wide<T> deviation(const Item& item, int v, Wide<T> mean) const { return item.x.v[v] - mean; }
};

template <class T, class W>
struct BatchGradientBody {
  static constexpr int kInFlight = 4;
  using V = Wide<T>;
  struct Item {
    Pack<V, W::kN> x, dz, old;
  };
  const T *x, *y, *dy;
  std::int64_t channels, channel;
  GradientWriter<V, W> writer;
  bool constants;  // the statistics were constants: x is not read
  GradientInto<T> dx;

  __device__ Item load(std::int64_t row) const {
    const std::int64_t at = row * channels + channel;
    Item item{};
    if (!constants) item.x = load_group<T, W>(x + at);
    item.dz = masked_gradient<T, W>(y, dy, at);
    if (dx.accumulate) item.old = load_group<T, W>(dx.data + at);
    return item;
  }
  __device__ void use(std::int64_t row, const Item& item) {
    Pack<V, W::kN> out;
    for (int v = 0; v < W::kN; ++v) {
      const V dz = item.dz.v[v], value = constants ? writer.scale.v[v] * dz : writer.gradient(v, dz, item.x.v[v]);
      out.v[v] = dx.accumulate ? item.old.v[v] + value : value;
    }
    store_group<T, W>(dx.data + row * channels + channel, out);
  }
};

// Work is split as in batch_moments_kernel. Reads x, dy and (with an activation) y once, writes dx once; arithmetic in
// Wide<T>. If the statistics were constants, x is not read.
template <class T, class W>
__global__ void batch_gradient_kernel(NormColumns c, const T* x, const T* y, const T* dy, ChannelGradient<Wide<T>> g,
                                      GradientInto<T> dx) {
  for (std::int64_t job = blockIdx.x; job < c.jobs; job += gridDim.x) {
    const NormPlace p = norm_place(c, job);
    if (p.count == 0) continue;
    const std::int64_t channel = p.group * W::kN;
    BatchGradientBody<T, W> body{
        x, y, dy, c.groups * W::kN, channel, GradientWriter<Wide<T>, W>(g, channel), g.slope == nullptr, dx};
    walk_rows(c, p, body);
  }
}

template <class T>
void batch_gradient_finish(Stream& stream, std::int64_t channels, std::int64_t chunks, const double* parts,
                           std::int64_t rows, const BatchSaved<T>& saved, const GradientInto<T>& dgamma,
                           const GradientInto<T>& dbeta, const ChannelGradientOut<T>& out) {
  launch_merges(stream, "batch_gradient_finish", batch_gradient_finish_kernel<T>, channels, chunks,
                sizeof(GradientTotals<T>), channels, chunks, parts, rows, saved, dgamma, dbeta, out);
}

template <class T>
void batch_backward(Stream& stream, bool training, Activation activation, std::int64_t rows, std::int64_t channels,
                    const T* x, const T* y, const T* dy, const BatchSaved<Wide<T>>& saved, const GradientInto<T>& dx,
                    const GradientInto<Wide<T>>& dgamma, const GradientInto<Wide<T>>& dbeta) {
  using V = Wide<T>;
  const bool to_x = dx.data != nullptr, to_parameters = dgamma.data != nullptr || dbeta.data != nullptr;
  if (channels == 0 || (!to_x && !to_parameters)) return;
  const T* const mask = activation == Activation::relu ? y : nullptr;
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(rows, channels / W::kN);
    const std::int64_t chunks = training || to_parameters ? c.chunks : 0;
    const Scratch<double> parts(stream, 2 * channels * chunks);
    const Scratch<V> coefficients(stream, 3 * channels);
    V* const scale = coefficients.data();
    const ChannelGradientOut<V> out{to_x ? scale : nullptr, scale + channels,
                                    to_x && training ? scale + 2 * channels : nullptr};
    if (chunks > 0) {
      gradient_sums<V, W>(stream, "batch_gradient_sums", c, BatchTerms<T, W>{x, mask, dy, channels}, saved.mean,
                          parts.data());
    }
    batch_gradient_finish<V>(stream, channels, chunks, parts.data(), rows, saved, dgamma, dbeta, out);
    if (!to_x) return;
    const ChannelGradient<V> g{saved.mean, out.scale, training ? out.offset : nullptr, out.slope};
    launch_columns(stream, "batch_gradient", batch_gradient_kernel<T, W>, c, 0, x, mask, dy, g, dx);
  };
  with_norm_width<T>(channels, run, x, mask, dy, static_cast<const T*>(dx.data), saved.mean);
}

}  // namespace descent::gpu
