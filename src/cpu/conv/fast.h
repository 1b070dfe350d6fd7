// The convolution's fast path. Each function returns false, having written nothing, for shapes that it leaves to the
// reference implementation. Images are distributed to the threads in pieces; a result's bits depend neither on the
// pieces (each output element is one chain in a fixed order) nor, for the filter, on the threads (partial sums of
// fixed groups of images are added in order).
#pragma once

#include "cpu/conv/plan.h"

namespace descent::cpu {

template <class T>
bool conv_forward_fast(const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation, T* y);
template <class T>
bool conv_pooled_fast(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, std::uint8_t* code);
template <class T>
bool conv_data_fast(const ConvShape& s, const T* dy, const T* w, T* dx, Write write);
template <class T>
bool conv_filter_fast(const ConvShape& s, const T* x, const T* dy, T* dw, Write write);

template <class T>
struct ConvGradients {  // null: not requested
  T* dx = nullptr;
  T* dw = nullptr;
  T* dbias = nullptr;
  Write write_dx = Write::overwrite, write_dw = Write::overwrite, write_dbias = Write::overwrite;
};
template <class T>
bool conv_pooled_backward_fast(const ConvShape& s, const T* x, const T* w, const T* dy, const std::uint8_t* code,
                               const ConvGradients<T>& gradients);

}  // namespace descent::cpu
