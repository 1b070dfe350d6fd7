// The reference implementation of the unary functions.
#pragma once

#include "backend/elementwise.h"

namespace descent::cpu {

template <class T>
T unary_reference(Unary op, T a, T b, T x);
template <class T>
T unary_backward_reference(Unary op, T a, T b, T x, T y, T dy);  // dy f'(x)

}  // namespace descent::cpu
