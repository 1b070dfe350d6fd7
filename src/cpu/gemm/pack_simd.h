// Packs what the register tiles read: panels of b as [p][kPanel], and tiles of a as [p][height].
#pragma once

#include "cpu/simd/transpose.h"

namespace descent::cpu::DESCENT_SIMD {

inline constexpr int kVectors = 2;                         // of a panel
inline constexpr int kTile = kVectorBytes == 64 ? 12 : 6;  // rows: accumulators fill 12 of 16 registers, or 24 of 32
template <class T>
inline constexpr int kPanel = kVectors* kLanes<T>;

// Transposes `rows` rows, at most the side of a block, into columns; missing rows count as 0.
template <class T, bool kWhole>
[[gnu::always_inline]] inline void transpose_block(const T* from, std::int64_t stride, std::int64_t rows, T* to) {
  constexpr int kSide = Block<T>::kSide;
  typename Block<T>::Row r[kSide];
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) {
    if (kWhole || i < rows) {
      __builtin_memcpy(&r[i], from + i * stride, sizeof r[i]);
    } else {
      r[i] = typename Block<T>::Row{};
    }
  }
  Block<T>::transpose(r);
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) __builtin_memcpy(to + i * kPanel<T>, &r[i], sizeof r[i]);
}

template <class T>
void pack_panel(const T* from, std::int64_t stride_p, std::int64_t stride_j, std::int64_t depth, std::int64_t cols,
                T* to) {
  constexpr int kSide = Block<T>::kSide;
  if (cols == kPanel<T> && stride_j == 1) {
    for (std::int64_t p = 0; p < depth; ++p) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        store(to + p * kPanel<T> + j * kLanes<T>, load(from + p * stride_p + j * kLanes<T>));
      }
    }
    return;
  }
  std::int64_t p = 0;
  if (stride_p == 1) {
    for (; p + kSide <= depth; p += kSide) {
      for (int j = 0; j < kPanel<T>; j += kSide) {
        if (j + kSide <= cols) {
          transpose_block<T, true>(from + j * stride_j + p, stride_j, kSide, to + p * kPanel<T> + j);
        } else {
          transpose_block<T, false>(from + j * stride_j + p, stride_j, cols - j, to + p * kPanel<T> + j);
        }
      }
    }
  }
  for (; p < depth; ++p) {
    for (std::int64_t j = 0; j < kPanel<T>; ++j) {
      to[p * kPanel<T> + j] = j < cols ? from[p * stride_p + j * stride_j] : T{0};
    }
  }
}

template <class T, int kHeight>
void pack_tile_of(const T* from, std::int64_t stride_p, std::int64_t depth, T* to) {
  for (std::int64_t p = 0; p < depth; ++p) __builtin_memcpy(to + p * kHeight, from + p * stride_p, sizeof(T) * kHeight);
}

template <class T, int kHeight = kTile>
void pack_tile(const T* from, std::int64_t stride_p, std::int64_t depth, std::int64_t height, T* to) {
  if constexpr (kHeight > 1) {
    if (height < kHeight) return pack_tile<T, kHeight - 1>(from, stride_p, depth, height, to);
  }
  pack_tile_of<T, kHeight>(from, stride_p, depth, to);
}

}  // namespace descent::cpu::DESCENT_SIMD
