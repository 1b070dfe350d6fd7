// The convolution as its definition says it, one loop per index and sums in f64: what the fast path is tested against,
// and what runs where that path doesn't reach (sizes of 0, offsets beyond 32 bits).
#pragma once

#include "cpu/conv_plan.h"

namespace descent::cpu {

// x [N, H, W, C], w [out, kh, kw, C / groups], y and dy [N, Ho, Wo, out]; bias may be null.
template <class T>
void conv_forward_reference(const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation, T* y);
template <class T>
void conv_data_reference(const ConvShape& s, const T* dy, const T* w, T* dx, Write write);
template <class T>
void conv_filter_reference(const ConvShape& s, const T* x, const T* dy, T* dw, Write write);

// y and code [N, Ho / 2, Wo / 2, out]; gradients that are null are not wanted.
template <class T>
void conv_pooled_reference(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, std::uint8_t* code);
template <class T>
void conv_expand_reference(const ConvShape& s, const T* dy, const std::uint8_t* code, T* full);
template <class T>
void conv_bias_reference(std::int64_t rows, std::int64_t channels, const T* dy, T* dbias, Write write);

}  // namespace descent::cpu
