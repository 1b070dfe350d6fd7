// 2x2 max pooling after ReLU, forward on a tile that has just been computed and backward from a 1-byte code: the
// row-major position of the first maximum in its window, or 4 if the maximum is not positive. NaN wins.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "cpu/conv/kernels_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
using Codes [[gnu::vector_size(kLanes<T>)]] = std::uint8_t;

constexpr std::uint8_t kNoGradient = 4;

template <class T>
struct Pooled {
  Vec<T> value;
  typename Lanes<T>::Mask code;
};

template <class T>
[[gnu::always_inline]] inline Pooled<T> pool_window(const Vec<T> (&window)[4]) {
  using Mask = typename Lanes<T>::Mask;
  Vec<T> best = window[0];
  Mask code{};
#pragma GCC unroll 3
  for (int i = 1; i < 4; ++i) {
    const Mask better = ~(window[i] <= best) & (best == best);
    best = better ? window[i] : best;
    code = better ? Mask{} + i : code;
  }
  const Mask none = best <= Vec<T>{};
  return {best, none ? Mask{} + kNoGradient : code};
}

// The codes of kLanes channels, widened to the lanes of a vector.
template <class T>
[[gnu::always_inline]] inline typename Lanes<T>::Mask load_codes(const std::uint8_t* from) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return reinterpret_cast<typename Lanes<T>::Mask>(
        _mm512_maskz_cvtepu8_epi32(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return reinterpret_cast<typename Lanes<T>::Mask>(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
#endif
  Codes<T> codes;
  __builtin_memcpy(&codes, from, sizeof codes);
  return __builtin_convertvector(codes, typename Lanes<T>::Mask);
}

template <class T>
[[gnu::always_inline]] inline void store_codes(std::uint8_t* to, typename Lanes<T>::Mask codes) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const __m128i narrow = _mm512_maskz_cvtepi32_epi8(0xFFFF, reinterpret_cast<__m512i>(codes));
    __builtin_memcpy(to, &narrow, sizeof narrow);
    return;
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {  // GCC would convert element by element
    const __m256i wide = reinterpret_cast<__m256i>(codes);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
    return;
  }
#endif
  const Codes<T> narrow = __builtin_convertvector(codes, Codes<T>);
  __builtin_memcpy(to, &narrow, sizeof narrow);
}

}  // namespace

template <class T>
void conv_pool(const ConvPoolJob<T>& job) {
  const std::int64_t line = job.columns * 2 * job.width;
  for (std::int64_t r = 0; r < job.rows; ++r) {
    for (std::int64_t q = 0; q < job.columns; ++q) {
      const T* tile = job.tile + (2 * r * job.columns * 2 + 2 * q) * job.width;
      T* y = job.y + (r * job.columns + q) * job.stride;
      std::uint8_t* code = job.code + (r * job.columns + q) * job.stride;
      for (std::int64_t c = 0; c < job.channels; c += kLanes<T>) {
        const Vec<T> window[4] = {load(tile + c), load(tile + job.width + c), load(tile + line + c),
                                  load(tile + line + job.width + c)};
        const Pooled<T> pooled = pool_window<T>(window);
        if (c + kLanes<T> <= job.channels) {
          store(y + c, pooled.value);
          store_codes<T>(code + c, pooled.code);
        } else {
          std::uint8_t codes[kLanes<T>];
          store_codes<T>(codes, pooled.code);
          store_first<T>(y + c, pooled.value, job.channels - c);
          for (std::int64_t i = c; i < job.channels; ++i) code[i] = codes[i - c];
        }
      }
    }
  }
}

template <class T>
void conv_expand(const ConvExpandJob<T>& job) {
  using Mask = typename Lanes<T>::Mask;
  for (std::int64_t r = 0; r < job.rows; ++r) {
    for (std::int64_t q = 0; q < job.columns; ++q) {
      const T* dy = job.dy + (r * job.columns + q) * job.stride;
      const std::uint8_t* code = job.code + (r * job.columns + q) * job.stride;
      T* out = job.out + 2 * r * job.out_row + 2 * q * job.out_column;
      T* const place[4] = {out, out + job.out_column, out + job.out_row, out + job.out_row + job.out_column};
      // Whole vectors may reach into the next windows, but not beyond the last one.
      const std::int64_t after = (job.rows * job.columns - 1 - (r * job.columns + q)) * job.stride;
      const std::int64_t reach =
          job.whole_vectors ? (job.channels + kLanes<T> - 1) / kLanes<T> * kLanes<T> : job.channels;
      const std::int64_t whole = reach <= job.channels + after ? reach - kLanes<T> + 1 : job.channels - kLanes<T> + 1;
      std::int64_t c = 0;
      for (; c < whole; c += kLanes<T>) {
        const Vec<T> gradient = load(dy + c);
        const Mask codes = load_codes<T>(code + c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) store<T>(place[i] + c, codes == Mask{} + i ? gradient : Vec<T>{});
      }
      for (; c < job.channels; ++c) {
        for (int i = 0; i < 4; ++i) place[i][c] = code[c] == i ? dy[c] : T{0};
      }
    }
  }
}

template <class T>
void conv_sum_selected(const T* dy, const std::uint8_t* code, std::int64_t windows, std::int64_t channels, T* sum) {
  using Mask = typename Lanes<T>::Mask;
  for (std::int64_t c = 0; c < channels; c += kLanes<T>) {
    // The last vector of channels reaches into the next windows as long as there are any.
    const std::int64_t beyond = c + kLanes<T> > channels ? c + kLanes<T> - channels : 0;
    const std::int64_t without = (beyond + channels - 1) / channels;
    const std::int64_t safe = windows > without ? windows - without : 0;
    Vec<T> total{};
    for (std::int64_t i = 0; i < safe; ++i) {
      const Vec<T> gradient = load(dy + i * channels + c);
      total += load_codes<T>(code + i * channels + c) < Mask{} + kNoGradient ? gradient : Vec<T>{};
    }
    const std::int64_t n = beyond > 0 ? channels - c : kLanes<T>;
    T sums[kLanes<T>];
    store<T>(sums, total);
    for (std::int64_t i = safe; i < windows; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t at = i * channels + c + j;
        sums[j] += code[at] < kNoGradient ? dy[at] : T{0};
      }
    }
    for (std::int64_t j = 0; j < n; ++j) sum[c + j] += sums[j];
  }
}

template void conv_pool<float>(const ConvPoolJob<float>&);
template void conv_pool<double>(const ConvPoolJob<double>&);
template void conv_expand<float>(const ConvExpandJob<float>&);
template void conv_expand<double>(const ConvExpandJob<double>&);
template void conv_sum_selected<float>(const float*, const std::uint8_t*, std::int64_t, std::int64_t, float*);
template void conv_sum_selected<double>(const double*, const std::uint8_t*, std::int64_t, std::int64_t, double*);

}  // namespace descent::cpu::DESCENT_SIMD
