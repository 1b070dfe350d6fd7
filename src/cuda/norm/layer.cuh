// Layer normalization. A team processes a row: a warp for up to kLayerWarpRow elements, a block for more. Parameter
// gradients are summed over the rows of every column in two ordered stages, as in batch normalization.
#pragma once

#include <type_traits>

#include "cuda/norm/gradient.cuh"

namespace descent::gpu {

constexpr std::int64_t kLayerWarpRow = 1024;

template <bool kBlock>
struct RowTeam {  // this thread's team; its rows are first, first + step, ...
  int member, size;
  std::int64_t first, step;

  __device__ RowTeam() {
    const int thread = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / kWarp;
    member = kBlock ? thread : thread % kWarp;
    size = kBlock ? static_cast<int>(blockDim.x) : kWarp;
    first = kBlock ? blockIdx.x : static_cast<std::int64_t>(blockIdx.x) * warps + thread / kWarp;
    step = kBlock ? gridDim.x : static_cast<std::int64_t>(gridDim.x) * warps;
  }
  // The team's merged state, in every member. `shared` holds 32 states and may be reused immediately after.
  template <class State>
  __device__ State merge(State state, State* shared) const {
    if constexpr (kBlock) {
      state = merge_block(state, shared);
      __syncthreads();
      if (threadIdx.x == 0) shared[0] = state;
      __syncthreads();
      state = shared[0];
      __syncthreads();
    } else {
      State* const own = shared + threadIdx.x / kWarp;
      state = merge_warp(state);
      if (member == 0) *own = state;
      __syncwarp();
      state = *own;
      __syncwarp();
    }
    return state;
  }
};

// A team takes a row, each member every size-th group of W::kN elements. Reads x twice, the second time from the cache
// if a row fits there, and writes y once. Moments accumulate in WideSum; y is computed in Wide<T>.
template <class T, class W, bool kBlock>
__global__ void layer_kernel(std::int64_t rows, std::int64_t n, const T* x, const Wide<T>* gamma, const Wide<T>* beta,
                             double eps, T* y, Wide<T>* mean, Wide<T>* inv_std) {
  using V = Wide<T>;
  NormMoments* const shared = dynamic_shared<NormMoments>();
  const RowTeam<kBlock> team;
  const std::int64_t groups = n / W::kN,
                     own = team.member < groups ? (groups - team.member + team.size - 1) / team.size : 0;
  for (std::int64_t row = team.first; row < rows; row += team.step) {
    const T* const from = x + row * n;
    T* const to = y + row * n;
    ShiftedSums<V> sums;
    if (own > 0) sums.begin(widen(from[team.member * W::kN]));
    for (std::int64_t i = team.member; i < groups; i += team.size) {
      const Pack<V, W::kN> values = load_group<T, W>(from + i * W::kN);
      for (int v = 0; v < W::kN; ++v) sums.add(values.v[v]);
    }
    const NormMoments m = team.merge(sums.moments(own * W::kN), shared);
    const double count = n > 0 ? static_cast<double>(n) : 1.0;
    const V middle = static_cast<V>(m.mean), scale = static_cast<V>(1 / sqrt(m.squares / count + eps));
    for (std::int64_t i = team.member; i < groups; i += team.size) {
      Pack<V, W::kN> values = load_group<T, W>(from + i * W::kN);
      const Pack<V, W::kN> g = gamma != nullptr ? load_group<V, W>(gamma + i * W::kN) : Pack<V, W::kN>{};
      const Pack<V, W::kN> b = beta != nullptr ? load_group<V, W>(beta + i * W::kN) : Pack<V, W::kN>{};
      for (int v = 0; v < W::kN; ++v) {
        V value = (values.v[v] - middle) * scale;
        if (gamma != nullptr) value *= g.v[v];
        if (beta != nullptr) value += b.v[v];
        values.v[v] = value;
      }
      store_group<T, W>(to + i * W::kN, values);
    }
    if (team.member == 0) {
      mean[row] = middle;
      inv_std[row] = scale;
    }
  }
}

// Work is split as in layer_kernel. Reads x and dy twice, the second time from the cache if the rows fit there, and
// writes dx once. The sums of dz = dy * gamma and dz * (x - mean) accumulate in Sum; dx is computed in Wide<T>.
template <class T, class W, bool kBlock>
__global__ void layer_gradient_kernel(std::int64_t rows, std::int64_t n, const T* x, const T* dy,
                                      BatchSaved<Wide<T>> saved, GradientInto<T> dx) {
  using V = Wide<T>;
  GradientSums<V>* const shared = dynamic_shared<GradientSums<V>>();
  const RowTeam<kBlock> team;
  const std::int64_t groups = n / W::kN;
  for (std::int64_t row = team.first; row < rows; row += team.step) {
    const V middle = saved.mean[row], inv_std = saved.inv_std[row];
    GradientSums<V> sums;
    for (std::int64_t i = team.member; i < groups; i += team.size) {
      const Pack<V, W::kN> in = load_group<T, W>(x + row * n + i * W::kN),
                           top = load_group<T, W>(dy + row * n + i * W::kN);
      const Pack<V, W::kN> g = saved.gamma != nullptr ? load_group<V, W>(saved.gamma + i * W::kN) : Pack<V, W::kN>{};
      for (int v = 0; v < W::kN; ++v) {
        const V dz = saved.gamma != nullptr ? rounded_product(top.v[v], g.v[v]) : top.v[v];
        sums.add(dz, in.v[v] - middle);
      }
    }
    sums = team.merge(sums, shared);
    const double count = static_cast<double>(n), scale = static_cast<double>(inv_std);
    const V offset = static_cast<V>(sums.sum.value() / count);
    const V slope = static_cast<V>(sums.product.value() / count * scale * scale);
    for (std::int64_t i = team.member; i < groups; i += team.size) {
      const std::int64_t at = row * n + i * W::kN;
      const Pack<V, W::kN> in = load_group<T, W>(x + at), top = load_group<T, W>(dy + at);
      const Pack<V, W::kN> g = saved.gamma != nullptr ? load_group<V, W>(saved.gamma + i * W::kN) : Pack<V, W::kN>{};
      const Pack<V, W::kN> old = dx.accumulate ? load_group<T, W>(dx.data + at) : Pack<V, W::kN>{};
      Pack<V, W::kN> out;
      for (int v = 0; v < W::kN; ++v) {
        const V dz = saved.gamma != nullptr ? top.v[v] * g.v[v] : top.v[v];
        const V value = inv_std * (dz - (offset + slope * (in.v[v] - middle)));
        out.v[v] = dx.accumulate ? old.v[v] + value : value;
      }
      store_group<T, W>(dx.data + at, out);
    }
  }
}

// Terms of gradient_sums_kernel: dy and the normalized x. Statistics belong to rows; columns have none.
template <class T, class W>
struct LayerTerms {
  static constexpr int kInFlight = 4;
  using V = Wide<T>;
  const T *x, *dy;
  const V *mean, *inv_std;
  std::int64_t n;
  struct Item {
    Pack<V, W::kN> x, dz;
    V mean, inv_std;
  };

  __device__ Item load(std::int64_t row, std::int64_t column) const {
    const std::int64_t at = row * n + column;
    return {load_group<T, W>(x + at), load_group<T, W>(dy + at), mean[row], inv_std[row]};
  }
  __device__ V deviation(const Item& item, int v, V) const { return (item.x.v[v] - item.mean) * item.inv_std; }
};

// A team (MergeTeam) per column merges the chunks. Reads 16 bytes per chunk and column.
template <class T>
__global__ void layer_parameters_kernel(bool block, std::int64_t n, std::int64_t chunks, const double* parts,
                                        GradientInto<T> dgamma, GradientInto<T> dbeta) {
  GradientTotals<T>* const shared = dynamic_shared<GradientTotals<T>>();
  const MergeTeam team(block);
  for (std::int64_t column = team.first; column < n; column += team.step) {
    const GradientTotals<T> total = merge_gradient_parts(team, n, chunks, column, parts, shared);
    if (team.member == 0) {
      put_gradient(dgamma, column, total.product.value());
      put_gradient(dbeta, column, total.sum.value());
    }
  }
}

// Calls f(NormWidth, whether a block takes a row). Short rows are processed element by element, which keeps
// all lanes of a warp busy.
template <class T, class F, class... Pointers>
void with_row_team(std::int64_t n, F&& f, const Pointers*... pointers) {
  const auto run = [&](auto width) {
    if (n > kLayerWarpRow) {
      f(width, std::true_type());
    } else {
      f(width, std::false_type());
    }
  };
  with_norm_width<T>(n < kWarp * kPack<T> ? 1 : n, run, pointers...);
}

template <class T>
void layer(Stream& stream, std::int64_t rows, std::int64_t n, const T* x, const Wide<T>* gamma, const Wide<T>* beta,
           double eps, T* y, Wide<T>* mean, Wide<T>* inv_std) {
  const auto run = [&](auto width, auto block) {
    using W = decltype(width);
    constexpr bool kBlock = decltype(block)::value;
    launch(stream, "layer", layer_kernel<T, W, kBlock>, dim3(blocks_for(stream, rows, kBlock ? 1 : kThreads / kWarp)),
           dim3(kThreads), kWarp * sizeof(NormMoments), rows, n, x, gamma, beta, eps, y, mean, inv_std);
  };
  with_row_team<T>(n, run, x, gamma, beta, static_cast<const T*>(y));
}

template <class T>
void layer_backward(Stream& stream, std::int64_t rows, std::int64_t n, const T* x, const T* dy,
                    const BatchSaved<Wide<T>>& saved, const GradientInto<T>& dx, const GradientInto<Wide<T>>& dgamma,
                    const GradientInto<Wide<T>>& dbeta) {
  using V = Wide<T>;
  if (dx.data != nullptr) {
    const auto run = [&](auto width, auto block) {
      using W = decltype(width);
      constexpr bool kBlock = decltype(block)::value;
      launch(stream, "layer_gradient", layer_gradient_kernel<T, W, kBlock>,
             dim3(blocks_for(stream, rows, kBlock ? 1 : kThreads / kWarp)), dim3(kThreads),
             kWarp * sizeof(GradientSums<V>), rows, n, x, dy, saved, dx);
    };
    with_row_team<T>(n, run, x, dy, saved.gamma, static_cast<const T*>(dx.data));
  }
  if (dgamma.data == nullptr && dbeta.data == nullptr) return;
  const auto run = [&](auto width) {
    using W = decltype(width);
    const NormColumns c = norm_columns(rows, n / W::kN);
    const Scratch<double> parts(stream, 2 * n * c.chunks);
    gradient_sums<V, W>(stream, "layer_gradient_sums", c, LayerTerms<T, W>{x, dy, saved.mean, saved.inv_std, n},
                        static_cast<const V*>(nullptr), parts.data());
    launch_merges(stream, "layer_parameters", layer_parameters_kernel<V>, n, c.chunks, sizeof(GradientTotals<V>), n,
                  c.chunks, parts.data(), dgamma, dbeta);
  };
  with_norm_width<T>(n, run, x, dy);
}

}  // namespace descent::gpu
