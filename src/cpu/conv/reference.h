// Reference implementation of the convolution: its definition, one loop per index, with sums in f64. The fast
// path is tested against it, and it runs the shapes that the fast path rejects (such as sizes of 0 and
// offsets beyond 32 bits).
#pragma once

#include "cpu/conv/plan.h"

namespace descent::cpu {

// x [N, H, W, C], w [out, kh, kw, C / groups], y and dy [N, Ho, Wo, out]; bias may be null.
template <class T>
void conv_forward_reference(const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation, T* y);
template <class T>
void conv_data_reference(const ConvShape& s, const T* dy, const T* w, T* dx, Write write);
template <class T>
void conv_filter_reference(const ConvShape& s, const T* x, const T* dy, T* dw, Write write);

// y and code [N, Ho / 2, Wo / 2, out].
template <class T>
void conv_pooled_reference(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, std::uint8_t* code);
template <class T>
void conv_expand_reference(const ConvShape& s, const T* dy, const std::uint8_t* code, T* full);
template <class T>
void conv_bias_reference(std::int64_t rows, std::int64_t channels, const T* dy, T* dbias, Write write);

}  // namespace descent::cpu
