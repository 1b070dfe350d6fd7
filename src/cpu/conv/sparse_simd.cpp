// Gradients through ReLU and a 2x2 max pool without the products that are zero (three quarters, and more because of
// ReLU): one axpy per pooled gradient over the kernel_h lines of its patch. The lines stay in registers over a list of
// gradients: for the filter, the list of one output channel; for the data, the list of the channels with the same
// position of the maximum in one window.
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/conv/kernels_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

constexpr int kMostVectors = 12;  // of a line in one block
constexpr int kMostLines = 3;

constexpr bool fits(int lines, int vectors) { return lines * vectors <= kAccumulators && lines <= kMostLines; }

template <class T>
struct Block {  // kLines kernel rows from `ky` on, kVectors vectors of each from element `first` on
  std::int64_t ky, first;
  std::int64_t count;  // length of the list
  const std::int32_t* offset;
  const T* value;
};

template <class T, int kLines, int kVectors>
[[gnu::noinline]] void filter_block(const ConvSparseJob<T>& job, std::int64_t channel, const Block<T>& block) {
  Vec<T> sum[kLines][kVectors];
#pragma GCC unroll 3
  for (int r = 0; r < kLines; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Vec<T>{};
  }
  const T* x = job.x + block.ky * job.row + block.first;
  const std::int64_t row = job.row;
  for (std::int64_t e = 0; e < block.count; ++e) {
    const Vec<T> value = broadcast(block.value[e]);
    const T* patch = x + block.offset[e];
#pragma GCC unroll 3
    for (int r = 0; r < kLines; ++r) {
#pragma GCC unroll 12
      for (int v = 0; v < kVectors; ++v) sum[r][v] += value * load(patch + r * row + v * kLanes<T>);
    }
  }
  T* to = job.partial + (channel * job.kernel_h + block.ky) * job.pitch + block.first;
#pragma GCC unroll 3
  for (int r = 0; r < kLines; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < kVectors; ++v) {
      T* here = to + r * job.pitch + v * kLanes<T>;
      store(here, load(here) + sum[r][v]);
    }
  }
}

// The lanes of a line's last vector that belong to the line.
template <class T>
typename Lanes<T>::Mask last_lanes(const ConvSparseJob<T>& job) {
  typename Lanes<T>::Mask mask{};
  const std::int64_t used = job.line - (job.pitch - kLanes<T>);
  for (int i = 0; i < kLanes<T>; ++i) mask[i] = i < used ? -1 : 0;
  return mask;
}

template <class T, int kLines, int kVectors>
[[gnu::noinline]] void data_block(const ConvSparseJob<T>& job, const Block<T>& block) {
  const bool line_ends = block.first + kVectors * kLanes<T> == job.pitch && job.pitch != job.line;
  const auto mask = last_lanes(job);
  const T* w = job.w + block.ky * job.pitch + block.first;
  const std::int64_t pitch = job.pitch, filter = job.kernel_h * job.pitch, row = job.row;
  for (std::int64_t i = 0; i < job.windows; ++i) {
    const T* dy = job.dy + i * job.channels;
#pragma GCC unroll 1
    for (std::int64_t code = 0; code < 4; ++code) {
      const std::int32_t count = job.list_offset[i * 4 + code];
      if (count == 0) continue;
      const std::uint16_t* channel = job.list_channel + (i * 4 + code) * job.channels;
      T* to = job.dx + job.place[i] + ((code >> 1) + block.ky) * row + (code & 1) * job.column + block.first;
      Vec<T> sum[kLines][kVectors];
#pragma GCC unroll 3
      for (int r = 0; r < kLines; ++r) {
#pragma GCC unroll 12
        for (int v = 0; v < kVectors; ++v) sum[r][v] = load(to + r * row + v * kLanes<T>);
      }
      for (std::int32_t e = 0; e < count; ++e) {
        const std::int64_t c = channel[e];
        const Vec<T> value = broadcast(dy[c]);
        const T* lines = w + c * filter;
#pragma GCC unroll 3
        for (int r = 0; r < kLines; ++r) {
#pragma GCC unroll 12
          for (int v = 0; v < kVectors; ++v) sum[r][v] += value * load(lines + r * pitch + v * kLanes<T>);
        }
      }
#pragma GCC unroll 3
      for (int r = 0; r < kLines; ++r) {
        if (line_ends) {
          const Vec<T> neighbour = load(to + r * row + (kVectors - 1) * kLanes<T>);
          sum[r][kVectors - 1] = mask ? sum[r][kVectors - 1] : neighbour;
        }
#pragma GCC unroll 12
        for (int v = 0; v < kVectors; ++v) store(to + r * row + v * kLanes<T>, sum[r][v]);
      }
    }
  }
}

// The positions of the set bits of each byte, and how many there are.
struct BitPlaces {
  std::uint8_t place[256][8] = {};
  std::uint8_t count[256] = {};
};
constexpr BitPlaces bit_places() {
  BitPlaces all;
  for (int byte = 0; byte < 256; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1) != 0) all.place[byte][all.count[byte]++] = static_cast<std::uint8_t>(bit);
    }
  }
  return all;
}
constexpr BitPlaces kBitPlaces = bit_places();

// Lists the gradients of a channel: the offsets of their patches, and their values.
template <class T>
std::int64_t list_gradients(const ConvSparseJob<T>& job, std::int64_t channel, std::int32_t* offset, T* value) {
  const std::int32_t row = static_cast<std::int32_t>(job.row), column = static_cast<std::int32_t>(job.column);
  const std::int32_t place_of_code[8] = {0, column, row, row + column, 0, 0, 0, 0};
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < job.windows; ++i) {
    const std::int64_t at = i * job.channels + channel;
    const std::uint8_t code = job.code[at];
    offset[count] = job.place[i] + place_of_code[code & 7];
    value[count] = job.dy[at];
    count += code < 4 ? 1 : 0;
  }
  return count;
}

// Sorts the channels of a window by code: list[k * channels + i] for i < count[k], k < 4.
void list_channels(const std::uint8_t* code, std::int64_t channels, std::uint16_t* list, std::int32_t* count) {
  for (int k = 0; k < 4; ++k) count[k] = 0;
  std::int64_t c = 0;
#if defined(__SSE2__)
  // Eight at a time, from a table: one at a time, each would wait for the count that the one before has written.
  std::int64_t length[4] = {};
  for (; c + 16 <= channels; c += 16) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + c));
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(codes, _mm_set1_epi8(static_cast<char>(k))));
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const int byte = mask >> (8 * half) & 255;
        const __m128i places = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kBitPlaces.place[byte]));
        const __m128i wide = _mm_add_epi16(_mm_unpacklo_epi8(places, _mm_setzero_si128()),
                                           _mm_set1_epi16(static_cast<std::int16_t>(c + 8 * half)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(list + k * channels + length[k]), wide);
        length[k] += kBitPlaces.count[byte];
      }
    }
  }
  for (int k = 0; k < 4; ++k) count[k] = static_cast<std::int32_t>(length[k]);
#endif
  for (; c < channels; ++c) {
    if (code[c] < 4) list[code[c] * channels + count[code[c]]++] = static_cast<std::uint16_t>(c);
  }
}

// Calls f<kLines, kVectors>() with the run-time numbers as template arguments.
template <int kLines, int kVectors, class F>
[[gnu::always_inline]] inline void choose_lines(std::int64_t lines, const F& f) {
  if constexpr (!fits(kLines, kVectors)) {
    choose_lines<kLines - 1, kVectors>(lines, f);
  } else if (lines == kLines) {
    f.template operator()<kLines, kVectors>();
  } else if constexpr (kLines > 1) {
    choose_lines<kLines - 1, kVectors>(lines, f);
  }
}

template <int kVectors, class F>
[[gnu::always_inline]] inline void choose(std::int64_t lines, std::int64_t vectors, const F& f) {
  if (vectors == kVectors) {
    choose_lines<kMostLines, kVectors>(lines, f);
  } else if constexpr (kVectors > 1) {
    choose<kVectors - 1>(lines, vectors, f);
  }
}

// Cuts `n` into pieces of nearly equal size, none larger than `most`.
struct Cut {
  Cut(std::int64_t n_, std::int64_t most) : n(n_), pieces((n_ + most - 1) / most) {}
  std::int64_t begin(std::int64_t piece) const { return n * piece / pieces; }
  std::int64_t n, pieces;
};

std::int64_t most_lines(std::int64_t vectors) {
  const std::int64_t lines = kAccumulators / vectors;
  return lines < kMostLines ? lines : kMostLines;
}

// Calls f(ky, lines, first, vectors) for all blocks. The kernel's rows run from the last to the first, so that an
// element of dx is summed in the order of the output's rows.
template <class T, class F>
void for_blocks(const ConvSparseJob<T>& job, const F& f) {
  const Cut across(job.pitch / kLanes<T>, kMostVectors);
  for (std::int64_t i = 0; i < across.pieces; ++i) {
    const std::int64_t first = across.begin(i), vectors = across.begin(i + 1) - first;
    const Cut down(job.kernel_h, most_lines(vectors));
    for (std::int64_t j = down.pieces - 1; j >= 0; --j) {
      f(down.begin(j), down.begin(j + 1) - down.begin(j), first * kLanes<T>, vectors);
    }
  }
}

}  // namespace

template <class T>
void conv_sparse_filter(const ConvSparseJob<T>& job) {
  // Lists several channels at once, while the cache lines that their gradients share are in the cache.
  for (std::int64_t group = 0; group < job.channels; group += kConvListedChannels) {
    const std::int64_t channels =
        job.channels - group < kConvListedChannels ? job.channels - group : kConvListedChannels;
    std::int64_t count[kConvListedChannels];
    for (std::int64_t c = 0; c < channels; ++c) {
      count[c] = list_gradients(job, group + c, job.list_offset + c * job.windows, job.list_value + c * job.windows);
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      if (count[c] == 0) continue;
      for_blocks(job, [&](std::int64_t ky, std::int64_t lines, std::int64_t first, std::int64_t vectors) {
        const Block<T> block{ky, first, count[c], job.list_offset + c * job.windows, job.list_value + c * job.windows};
        choose<kMostVectors>(lines, vectors, [&]<int kLines, int kVectors>() {
          filter_block<T, kLines, kVectors>(job, group + c, block);
        });
      });
    }
  }
}

template <class T>
void conv_sparse_data(const ConvSparseJob<T>& job) {
  for (std::int64_t i = 0; i < job.windows; ++i) {
    list_channels(job.code + i * job.channels, job.channels, job.list_channel + i * 4 * job.channels,
                  job.list_offset + i * 4);
  }
  for_blocks(job, [&](std::int64_t ky, std::int64_t lines, std::int64_t first, std::int64_t vectors) {
    const Block<T> block{ky, first, 0, nullptr, nullptr};
    choose<kMostVectors>(lines, vectors,
                         [&]<int kLines, int kVectors>() { data_block<T, kLines, kVectors>(job, block); });
  });
}

template void conv_sparse_filter<float>(const ConvSparseJob<float>&);
template void conv_sparse_filter<double>(const ConvSparseJob<double>&);
template void conv_sparse_data<float>(const ConvSparseJob<float>&);
template void conv_sparse_data<double>(const ConvSparseJob<double>&);

}  // namespace descent::cpu::DESCENT_SIMD
