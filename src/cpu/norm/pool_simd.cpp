// Fused batch normalization, ReLU and 2x2 max pooling in one pass over the image, vectorized over channels.
#include "cpu/norm/loops_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
using Mask = typename Lanes<T>::Mask;

template <class T>
struct CodeVector {
  using Type [[gnu::vector_size(kLanes<T>)]] = std::uint8_t;
};

template <class T>
[[gnu::always_inline]] inline Mask<T> same_code(std::int64_t code) {
  return static_cast<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>(code) - Mask<T>{};
}

template <class T, bool kWhole>
[[gnu::always_inline]] inline Mask<T> load_codes(const std::uint8_t* from, std::int64_t n) {
  typename CodeVector<T>::Type codes{};
  if constexpr (kWhole) {
    __builtin_memcpy(&codes, from, sizeof codes);
  } else {
    for (std::int64_t i = 0; i < n; ++i) codes[i] = from[i];
  }
  return __builtin_convertvector(codes, Mask<T>);
}

template <class T, bool kWhole>
[[gnu::always_inline]] inline void store_codes(std::uint8_t* to, Mask<T> v, std::int64_t n) {
  const auto codes = __builtin_convertvector(v, typename CodeVector<T>::Type);
  if constexpr (kWhole) {
    __builtin_memcpy(to, &codes, sizeof codes);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = codes[i];
  }
}

[[gnu::always_inline]] inline std::int64_t place(const PooledRow& r, std::int64_t ow, int k) {
  return (2 * ow + k % 2) * r.c + (k / 2) * r.stride;
}

template <class T>
void normalize(const PooledRow& r, const T* x, const ChannelScale<T>& p, T* y, std::uint8_t* code) {
  for (std::int64_t ow = 0; ow < r.out_w; ++ow) {
    for_vectors<T>(r.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      Vec<T> best = relu<T>(normalized<T, kWhole>(load_some<T, kWhole>(x + place(r, ow, 0) + c, n), p, c, n));
      Mask<T> winner{};
#pragma GCC unroll 3
      for (int k = 1; k < 4; ++k) {
        const Vec<T> v = relu<T>(normalized<T, kWhole>(load_some<T, kWhole>(x + place(r, ow, k) + c, n), p, c, n));
        const Mask<T> wins = ~(v <= best) & (best == best);  // greater, or the first NaN
        best = wins ? v : best;
        winner = wins ? same_code<T>(k) : winner;
      }
      winner = best <= Vec<T>{} ? same_code<T>(4) : winner;
      store_some<T, kWhole>(y + ow * r.c + c, best, n);
      store_codes<T, kWhole>(code + ow * r.c + c, winner, n);
    });
  }
}

template <class T>
void gradient_sums(const PooledRow& r, const T* x, const T* dy, const std::uint8_t* code, const T* mean, T* sum,
                   T* product) {
  for_vectors<T>(r.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
    const Vec<T> middle = load_some<T, kWhole>(mean + c, n);
    Vec<T> s = load_some<T, kWhole>(sum + c, n), p = load_some<T, kWhole>(product + c, n);
    for (std::int64_t ow = 0; ow < r.out_w; ++ow) {
      const Mask<T> winner = load_codes<T, kWhole>(code + ow * r.c + c, n);
      Vec<T> at = load_some<T, kWhole>(x + place(r, ow, 0) + c, n);
#pragma GCC unroll 3
      for (int k = 1; k < 4; ++k)
        at = winner == same_code<T>(k) ? load_some<T, kWhole>(x + place(r, ow, k) + c, n) : at;
      const Vec<T> dz = winner < same_code<T>(4) ? load_some<T, kWhole>(dy + ow * r.c + c, n) : Vec<T>{};
      s += dz;
      p += dz * (at - middle);
    }
    store_some<T, kWhole>(sum + c, s, n);
    store_some<T, kWhole>(product + c, p, n);
  });
}

template <class T>
void rest(std::int64_t pixels, std::int64_t channels, const T* x, const ChannelGradient<T>& g, T* dx, bool accumulate) {
  for (std::int64_t i = 0; i < pixels; ++i) {
    for_vectors<T>(channels, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      const std::int64_t at = i * channels + c;
      write_gradient<T, kWhole>(dx + at, -common_part<T, kWhole>(load_some<T, kWhole>(x + at, n), g, c, n), n,
                                accumulate);
    });
  }
}

template <class T>
void gradient(const PooledRow& r, const T* x, const T* dy, const std::uint8_t* code, const ChannelGradient<T>& g, T* dx,
              bool accumulate) {
  for (std::int64_t ow = 0; ow < r.out_w; ++ow) {
    for_vectors<T>(r.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      const Mask<T> winner = load_codes<T, kWhole>(code + ow * r.c + c, n);
      const Vec<T> own = load_some<T, kWhole>(g.scale + c, n) * load_some<T, kWhole>(dy + ow * r.c + c, n);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const std::int64_t at = place(r, ow, k) + c;
        const Vec<T> common = common_part<T, kWhole>(load_some<T, kWhole>(x + at, n), g, c, n);
        const Vec<T> dz = winner == same_code<T>(k) ? own : Vec<T>{};
        write_gradient<T, kWhole>(dx + at, dz - common, n, accumulate);
      }
    });
  }
  for (std::int64_t row = 0; row < 2; ++row) {
    const std::int64_t at = row * r.stride + 2 * r.out_w * r.c;
    rest(r.w - 2 * r.out_w, r.c, x + at, g, dx + at, accumulate);
  }
}

template <class T>
constexpr PooledKernels<T> kTable{normalize<T>, gradient_sums<T>, gradient<T>, rest<T>};

}  // namespace

extern constexpr PooledKernels<float> norm_pool_f32 = kTable<float>;
extern constexpr PooledKernels<double> norm_pool_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
