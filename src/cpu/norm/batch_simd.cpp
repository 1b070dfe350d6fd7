// Batch normalization over rows of `period` elements. Sums keep four vectors in flight: four
// columns of vectors at a time.
#include "cpu/norm/loops_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
void sums(const NormRows& r, const T* x, T* out) {
  for_columns<T>(r.width, [&]<int kCount, bool kWhole>(std::int64_t j, std::int64_t n) {
    Vec<T> sum[kCount] = {};
    for (std::int64_t i = 0; i < r.rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) sum[v] += load_some<T, kWhole>(x + i * r.period + j + v * kLanes<T>, n);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) store_some<T, kWhole>(out + j + v * kLanes<T>, sum[v], n);
  });
}

template <class T>
void square_deviations(const NormRows& r, const T* x, const T* center, T* out) {
  for_columns<T>(r.width, [&]<int kCount, bool kWhole>(std::int64_t j, std::int64_t n) {
    Vec<T> sum[kCount] = {}, middle[kCount];
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) middle[v] = load_some<T, kWhole>(center + j + v * kLanes<T>, n);
    for (std::int64_t i = 0; i < r.rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        const Vec<T> d = load_some<T, kWhole>(x + i * r.period + j + v * kLanes<T>, n) - middle[v];
        sum[v] += d * d;
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) store_some<T, kWhole>(out + j + v * kLanes<T>, sum[v], n);
  });
}

template <class T>
void normalize(const NormRows& r, const T* x, const ChannelScale<T>& p, bool use_relu, T* y) {
  for (std::int64_t i = 0; i < r.rows; ++i) {
    const T* const from = x + i * r.period;
    T* const to = y + i * r.period;
    for_vectors<T>(r.width, [&]<bool kWhole>(std::int64_t j, std::int64_t n) {
      Vec<T> v = normalized<T, kWhole>(load_some<T, kWhole>(from + j, n), p, j, n);
      if (use_relu) v = relu<T>(v);
      store_some<T, kWhole>(to + j, v, n);
    });
  }
}

// dz: dy where the activation passed the value, else 0.
template <class T, bool kMasked, bool kWhole>
[[gnu::always_inline]] inline Vec<T> passed(const T* y, const T* dy, std::int64_t at, std::int64_t n) {
  const Vec<T> g = load_some<T, kWhole>(dy + at, n);
  if constexpr (!kMasked) return g;
  return load_some<T, kWhole>(y + at, n) <= Vec<T>{} ? Vec<T>{} : g;
}

template <class T, bool kMasked>
void gradient_sums_of(const NormRows& r, const T* x, const T* y, const T* dy, const T* mean, T* sum, T* product) {
  for_columns<T>(r.width, [&]<int kCount, bool kWhole>(std::int64_t j, std::int64_t n) {
    Vec<T> s[kCount] = {}, p[kCount] = {}, middle[kCount];
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) middle[v] = load_some<T, kWhole>(mean + j + v * kLanes<T>, n);
    for (std::int64_t i = 0; i < r.rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        const std::int64_t at = i * r.period + j + v * kLanes<T>;
        const Vec<T> dz = passed<T, kMasked, kWhole>(y, dy, at, n);
        s[v] += dz;
        p[v] += dz * (load_some<T, kWhole>(x + at, n) - middle[v]);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      store_some<T, kWhole>(sum + j + v * kLanes<T>, s[v], n);
      store_some<T, kWhole>(product + j + v * kLanes<T>, p[v], n);
    }
  });
}

template <class T>
void gradient_sums(const NormRows& r, const T* x, const T* y, const T* dy, const T* mean, T* sum, T* product) {
  if (y != nullptr) return gradient_sums_of<T, true>(r, x, y, dy, mean, sum, product);
  gradient_sums_of<T, false>(r, x, y, dy, mean, sum, product);
}

template <class T, bool kMasked>
void gradient_of(const NormRows& r, const T* x, const T* y, const T* dy, const ChannelGradient<T>& g, T* dx,
                 bool accumulate) {
  for (std::int64_t i = 0; i < r.rows; ++i) {
    for_vectors<T>(r.width, [&]<bool kWhole>(std::int64_t j, std::int64_t n) {
      const std::int64_t at = i * r.period + j;
      const Vec<T> own = load_some<T, kWhole>(g.scale + j, n) * passed<T, kMasked, kWhole>(y, dy, at, n);
      const Vec<T> common = common_part<T, kWhole>(load_some<T, kWhole>(x + at, n), g, j, n);
      write_gradient<T, kWhole>(dx + at, own - common, n, accumulate);
    });
  }
}

template <class T>
void gradient(const NormRows& r, const T* x, const T* y, const T* dy, const ChannelGradient<T>& g, T* dx,
              bool accumulate) {
  if (y != nullptr) return gradient_of<T, true>(r, x, y, dy, g, dx, accumulate);
  gradient_of<T, false>(r, x, y, dy, g, dx, accumulate);
}

template <class T>
constexpr BatchKernels<T> kTable{sums<T>, square_deviations<T>, normalize<T>, gradient_sums<T>, gradient<T>};

}  // namespace

extern constexpr BatchKernels<float> norm_batch_f32 = kTable<float>;
extern constexpr BatchKernels<double> norm_batch_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
