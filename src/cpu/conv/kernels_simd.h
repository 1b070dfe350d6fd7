// The convolution kernels of one instruction set; table_simd.cpp gathers them.
#pragma once

#include "cpu/conv/kernels.h"
#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {

// The accumulators of a tile fill 12 of 16 registers, or 24 of 32; the rest is for the operands.
inline constexpr int kAccumulators = kVectorBytes == 64 ? 24 : 12;
inline constexpr int kPanelVectors = kVectorBytes == 64 ? 4 : 2;

template <class T>
void conv_tile(const ConvTileJob<T>& job);
template <class T>
void conv_filter(const ConvFilterJob<T>& job);
template <class T>
void conv_gather(const T* from, std::int64_t stride, std::int64_t channels, std::int64_t pixels, T* to);
template <class T>
void conv_sparse_filter(const ConvSparseJob<T>& job);
template <class T>
void conv_sparse_data(const ConvSparseJob<T>& job);
template <class T>
void conv_pool(const ConvPoolJob<T>& job);
template <class T>
void conv_expand(const ConvExpandJob<T>& job);
template <class T>
void conv_sum_selected(const T* dy, const std::uint8_t* code, std::int64_t windows, std::int64_t channels, T* sum);

}  // namespace descent::cpu::DESCENT_SIMD
