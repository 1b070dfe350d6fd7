// Pooling rows. Vectors run over channels; the last vector of a pixel may be partly filled.
#include "cpu/pool/kernels.h"

#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
using Mask = typename Lanes<T>::Mask;

template <class T, class Code>
struct CodeVector {
  using Type [[gnu::vector_size(sizeof(Code) * kLanes<T>)]] = Code;
};

template <class T, class Code, bool kWhole>
[[gnu::always_inline]] inline Mask<T> load_codes(const Code* from, std::int64_t n) {
  typename CodeVector<T, Code>::Type codes{};
  if constexpr (kWhole) {
    __builtin_memcpy(&codes, from, sizeof codes);
  } else {
    for (std::int64_t i = 0; i < n; ++i) codes[i] = from[i];
  }
  return __builtin_convertvector(codes, Mask<T>);
}

template <class T, class Code, bool kWhole>
[[gnu::always_inline]] inline void store_codes(Code* to, Mask<T> v, std::int64_t n) {
  const auto codes = __builtin_convertvector(v, typename CodeVector<T, Code>::Type);
  if constexpr (kWhole) {
    __builtin_memcpy(to, &codes, sizeof codes);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = codes[i];
  }
}

template <class T>
[[gnu::always_inline]] inline Mask<T> code_of(std::int64_t place) {
  return static_cast<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>(place) - Mask<T>{};
}

template <class T, class Code>
void max_row_of(const PoolShape& s, std::int64_t oh, const T* image, T* y, Code* code) {
  const Pool2dOptions& g = s.g;
  const PoolRange rows = window_pixels(oh, s.h, g.kernel_h, g.stride_h, g.padding_h);
  for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
    const PoolRange cols = window_pixels(ow, s.w, g.kernel_w, g.stride_w, g.padding_w);
    const std::int64_t origin =
        (g.padding_h - oh * g.stride_h) * g.kernel_w + g.padding_w - ow * g.stride_w;  // code of pixel (0, 0)
    const T* first = image + (rows.begin * s.w + cols.begin) * s.c;
    for_vectors<T>(s.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      Vec<T> best = load_some<T, kWhole>(first + c, n);
      Mask<T> place = code_of<T>(rows.begin * g.kernel_w + cols.begin + origin);
      for (std::int64_t h = rows.begin; h < rows.end; ++h) {
        for (std::int64_t w = cols.begin; w < cols.end; ++w) {
          const Vec<T> v = load_some<T, kWhole>(image + (h * s.w + w) * s.c + c, n);
          const Mask<T> wins = ~(v <= best) & (best == best);  // greater, or the first NaN
          best = wins ? v : best;
          place = wins ? code_of<T>(h * g.kernel_w + w + origin) : place;
        }
      }
      store_some<T, kWhole>(y + ow * s.c + c, best, n);
      store_codes<T, Code, kWhole>(code + ow * s.c + c, place, n);
    });
  }
}

// The common case, 2x2 windows with stride 2 and no padding: windows do not overlap.
[[gnu::always_inline]] inline bool is_plain_2x2(const Pool2dOptions& g) {
  return g.kernel_h == 2 && g.kernel_w == 2 && g.stride_h == 2 && g.stride_w == 2 && g.padding_h == 0 &&
         g.padding_w == 0;
}

template <class T>
void max_row_2x2(const PoolShape& s, std::int64_t oh, const T* image, T* y, std::uint8_t* code) {
  const std::int64_t below = s.w * s.c;
  const T* const top = image + 2 * oh * below;
  for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
    for_vectors<T>(s.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      const T* const from = top + 2 * ow * s.c + c;
      Vec<T> best = load_some<T, kWhole>(from, n);
      Mask<T> place{};
#pragma GCC unroll 3
      for (int k = 1; k < 4; ++k) {
        const Vec<T> v = load_some<T, kWhole>(from + (k / 2) * below + (k % 2) * s.c, n);
        const Mask<T> wins = ~(v <= best) & (best == best);
        best = wins ? v : best;
        place = wins ? code_of<T>(k) : place;
      }
      store_some<T, kWhole>(y + ow * s.c + c, best, n);
      store_codes<T, std::uint8_t, kWhole>(code + ow * s.c + c, place, n);
    });
  }
}

template <class T>
void max_backward_row_2x2(const PoolShape& s, std::int64_t ih, const T* dy, const std::uint8_t* code, T* dx,
                          bool accumulate) {
  const std::int64_t from = ih / 2 * s.out_w * s.c;
  const std::int64_t windows = ih / 2 < s.out_h ? s.out_w : 0;
  for (std::int64_t ow = 0; ow < windows; ++ow) {
    for_vectors<T>(s.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      const std::int64_t at = from + ow * s.c + c;
      const Mask<T> winner = load_codes<T, std::uint8_t, kWhole>(code + at, n);
      const Vec<T> g = load_some<T, kWhole>(dy + at, n);
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        T* const to = dx + (2 * ow + k) * s.c + c;
        Vec<T> v = winner == code_of<T>(ih % 2 * 2 + k) ? g : Vec<T>{};
        if (accumulate) v += load_some<T, kWhole>(to, n);
        store_some<T, kWhole>(to, v, n);
      }
    });
  }
  if (accumulate) return;
  for (std::int64_t i = 2 * windows * s.c; i < s.w * s.c; ++i) dx[i] = 0;
}

template <class T>
void max_row(const PoolShape& s, std::int64_t oh, const T* image, T* y, void* code) {
  if (is_plain_2x2(s.g)) return max_row_2x2(s, oh, image, y, static_cast<std::uint8_t*>(code));
  if (s.narrow_code()) return max_row_of(s, oh, image, y, static_cast<std::uint8_t*>(code));
  max_row_of(s, oh, image, y, static_cast<std::int32_t*>(code));
}

// dx(ih, iw) = the sum of term(oh, ow, c, n) over the windows that contain the pixel.
template <class T, class Term>
[[gnu::always_inline]] inline void gather_row(const PoolShape& s, std::int64_t ih, T* dx, bool accumulate,
                                              const Term& term) {
  const Pool2dOptions& g = s.g;
  const PoolRange rows = pixel_windows(ih, s.out_h, g.kernel_h, g.stride_h, g.padding_h);
  for (std::int64_t iw = 0; iw < s.w; ++iw) {
    const PoolRange cols = pixel_windows(iw, s.out_w, g.kernel_w, g.stride_w, g.padding_w);
    T* const to = dx + iw * s.c;
    for_vectors<T>(s.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      Vec<T> sum{};
      for (std::int64_t oh = rows.begin; oh < rows.end; ++oh) {
        for (std::int64_t ow = cols.begin; ow < cols.end; ++ow)
          sum += term.template operator()<kWhole>(iw, oh, ow, c, n);
      }
      if (accumulate) sum += load_some<T, kWhole>(to + c, n);
      store_some<T, kWhole>(to + c, sum, n);
    });
  }
}

template <class T, class Code>
void max_backward_row_of(const PoolShape& s, std::int64_t ih, const T* dy, const Code* code, T* dx, bool accumulate) {
  const Pool2dOptions& g = s.g;
  gather_row(s, ih, dx, accumulate,
             [&]<bool kWhole>(std::int64_t iw, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t n) {
               const std::int64_t from = (oh * s.out_w + ow) * s.c + c;
               const std::int64_t place =
                   (ih + g.padding_h - oh * g.stride_h) * g.kernel_w + iw + g.padding_w - ow * g.stride_w;
               const Mask<T> here = load_codes<T, Code, kWhole>(code + from, n) == code_of<T>(place);
               return here ? load_some<T, kWhole>(dy + from, n) : Vec<T>{};
             });
}

template <class T>
void max_backward_row(const PoolShape& s, std::int64_t ih, const T* dy, const void* code, T* dx, bool accumulate) {
  if (is_plain_2x2(s.g)) {
    return max_backward_row_2x2(s, ih, dy, static_cast<const std::uint8_t*>(code), dx, accumulate);
  }
  if (s.narrow_code()) return max_backward_row_of(s, ih, dy, static_cast<const std::uint8_t*>(code), dx, accumulate);
  max_backward_row_of(s, ih, dy, static_cast<const std::int32_t*>(code), dx, accumulate);
}

template <class T>
void average_row(const PoolShape& s, std::int64_t oh, const T* image, T* y) {
  const Pool2dOptions& g = s.g;
  const PoolRange rows = window_pixels(oh, s.h, g.kernel_h, g.stride_h, g.padding_h);
  for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
    const PoolRange cols = window_pixels(ow, s.w, g.kernel_w, g.stride_w, g.padding_w);
    const Vec<T> divisor = broadcast(static_cast<T>(average_divisor(s, oh, ow)));
    for_vectors<T>(s.c, [&]<bool kWhole>(std::int64_t c, std::int64_t n) {
      Vec<T> sum{};
      for (std::int64_t h = rows.begin; h < rows.end; ++h) {
        for (std::int64_t w = cols.begin; w < cols.end; ++w)
          sum += load_some<T, kWhole>(image + (h * s.w + w) * s.c + c, n);
      }
      store_some<T, kWhole>(y + ow * s.c + c, sum / divisor, n);
    });
  }
}

template <class T>
void average_backward_row(const PoolShape& s, std::int64_t ih, const T* dy, T* dx, bool accumulate) {
  gather_row(s, ih, dx, accumulate,
             [&]<bool kWhole>(std::int64_t, std::int64_t oh, std::int64_t ow, std::int64_t c, std::int64_t n) {
               return load_some<T, kWhole>(dy + (oh * s.out_w + ow) * s.c + c, n) /
                      broadcast(static_cast<T>(average_divisor(s, oh, ow)));
             });
}

// Runs of rows are summed in T, the sums of the runs in f64.
template <class T>
void mean_of_rows(std::int64_t rows, std::int64_t c, const T* x, T* y) {
  constexpr std::int64_t kRun = 32;
  for_vectors<T>(c, [&]<bool kWhole>(std::int64_t i, std::int64_t n) {
    double total[kLanes<T>] = {};
    for (std::int64_t begin = 0; begin < rows; begin += kRun) {
      Vec<T> sum{};
      const std::int64_t end = begin + kRun < rows ? begin + kRun : rows;
      for (std::int64_t r = begin; r < end; ++r) sum += load_some<T, kWhole>(x + r * c + i, n);
      for (int l = 0; l < kLanes<T>; ++l) total[l] += static_cast<double>(sum[l]);
    }
    for (std::int64_t l = 0; l < n; ++l) y[i + l] = static_cast<T>(total[l] / static_cast<double>(rows));
  });
}

template <class T>
void spread_row(std::int64_t rows, std::int64_t c, const T* dy, T* dx, bool accumulate) {
  for_vectors<T>(c, [&]<bool kWhole>(std::int64_t i, std::int64_t n) {
    const Vec<T> share = load_some<T, kWhole>(dy + i, n) / broadcast(static_cast<T>(rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      T* const to = dx + r * c + i;
      store_some<T, kWhole>(to, accumulate ? load_some<T, kWhole>(to, n) + share : share, n);
    }
  });
}

template <class T>
constexpr PoolKernels<T> kTable{max_row<T>,      max_backward_row<T>, average_row<T>, average_backward_row<T>,
                                mean_of_rows<T>, spread_row<T>};

}  // namespace

extern constexpr PoolKernels<float> pool_f32 = kTable<float>;
extern constexpr PoolKernels<double> pool_f64 = kTable<double>;

}  // namespace descent::cpu::DESCENT_SIMD
