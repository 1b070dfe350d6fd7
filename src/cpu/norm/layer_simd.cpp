// Layer normalization of rows. Runs of a row are summed in T, in four vectors; the sums of the runs in f64.
#include "cpu/norm/loops_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

constexpr std::int64_t kRun = 2048;

// The sum over [0, n) of the vectors that value<whole>(i, count) returns.
template <class T, class F>
[[gnu::always_inline]] inline double sum_of(std::int64_t n, const F& value) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kRun) {
    const std::int64_t end = begin + kRun < n ? begin + kRun : n;
    Vec<T> sum[kColumns] = {};
    for_columns<T>(end - begin, [&]<int kCount, bool kWhole>(std::int64_t j, std::int64_t count) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) sum[v] += value.template operator()<kWhole>(begin + j + v * kLanes<T>, count);
    });
    const Vec<T> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (int l = 0; l < kLanes<T>; ++l) total += static_cast<double>(all[l]);
  }
  return total;
}

// Lanes past the end of a row must not count: they hold 0, so the subtracted mean has to be masked too.
template <class T, bool kWhole>
[[gnu::always_inline]] inline Vec<T> minus(const T* x, T mean, std::int64_t n) {
  if constexpr (kWhole) return load(x) - broadcast(mean);
  T means[kLanes<T>] = {};
  for (std::int64_t i = 0; i < n; ++i) means[i] = mean;
  return load_first(x, n) - load(means);
}

template <class T>
void forward(std::int64_t n, const T* x, const T* gamma, const T* beta, double eps, T* y, T* mean, T* inv_std) {
  const double count = static_cast<double>(n);
  const T middle = static_cast<T>(
      sum_of<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t m) { return load_some<T, kWhole>(x + i, m); }) /
      count);
  const double squares = sum_of<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t m) {
    const Vec<T> d = minus<T, kWhole>(x + i, middle, m);
    return d * d;
  });
  const T scale = static_cast<T>(1 / __builtin_sqrt(squares / count + eps));
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t m) {
    Vec<T> v = (load_some<T, kWhole>(x + i, m) - broadcast(middle)) * broadcast(scale);
    if (gamma != nullptr) v *= load_some<T, kWhole>(gamma + i, m);
    if (beta != nullptr) v += load_some<T, kWhole>(beta + i, m);
    store_some<T, kWhole>(y + i, v, m);
  });
  *mean = middle;
  *inv_std = scale;
}

template <class T>
void backward(std::int64_t n, const T* x, const T* dy, const T* gamma, T mean, T inv_std, T* dx, bool accumulate) {
  const auto scaled = [&]<bool kWhole>(std::int64_t i, std::int64_t m) {
    const Vec<T> g = load_some<T, kWhole>(dy + i, m);
    return gamma != nullptr ? g * load_some<T, kWhole>(gamma + i, m) : g;
  };
  const double count = static_cast<double>(n);
  const double sum = sum_of<T>(n, scaled);
  const double product = sum_of<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t m) {
    return scaled.template operator()<kWhole>(i, m) * (load_some<T, kWhole>(x + i, m) - broadcast(mean));
  });
  const double scale = static_cast<double>(inv_std);
  const Vec<T> offset = broadcast(static_cast<T>(sum / count));
  const Vec<T> slope = broadcast(static_cast<T>(product / count * scale * scale));
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t m) {
    const Vec<T> common = offset + slope * (load_some<T, kWhole>(x + i, m) - broadcast(mean));
    const Vec<T> v = broadcast(inv_std) * (scaled.template operator()<kWhole>(i, m) - common);
    write_gradient<T, kWhole>(dx + i, v, m, accumulate);
  });
}

template <class T>
void parameter_sums(std::int64_t rows, std::int64_t n, const T* x, const T* dy, const T* mean, const T* inv_std, T* sum,
                    T* product) {
  for_columns<T>(n, [&]<int kCount, bool kWhole>(std::int64_t j, std::int64_t m) {
    Vec<T> s[kCount] = {}, p[kCount] = {};
    for (std::int64_t i = 0; i < rows; ++i) {
      const Vec<T> middle = broadcast(mean[i]), scale = broadcast(inv_std[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        const std::int64_t at = i * n + j + v * kLanes<T>;
        const Vec<T> g = load_some<T, kWhole>(dy + at, m);
        s[v] += g;
        p[v] += g * ((load_some<T, kWhole>(x + at, m) - middle) * scale);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      store_some<T, kWhole>(sum + j + v * kLanes<T>, s[v], m);
      store_some<T, kWhole>(product + j + v * kLanes<T>, p[v], m);
    }
  });
}

template <class T>
constexpr LayerKernels<T> kTable{forward<T>, backward<T>, parameter_sums<T>};

}  // namespace

extern constexpr LayerKernels<float> norm_layer_f32 = kTable<float>;
extern constexpr LayerKernels<double> norm_layer_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
