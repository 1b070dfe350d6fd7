// What softmax and cross entropy share: a row's maximum and the exponentials of the differences from it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/accumulate.h"

namespace descent::cpu {

inline constexpr std::int64_t kExponentialPiece = 640;  // elements of a task; each costs an exponential

template <class T>
T maximum(const T* x, std::int64_t n) {
  T top = -std::numeric_limits<T>::infinity();
  for (std::int64_t j = 0; j < n; ++j) top = x[j] > top ? x[j] : top;
  return top;  // NaN is skipped here; it reaches the result through its exponential
}

// The sum of exp(x - top). Stores the exponentials in e unless it is null; e may be x.
template <class T>
double sum_exponentials(const T* x, T top, T* e, std::int64_t n) {
  Sum<T> sum;
  for (std::int64_t j = 0; j < n; ++j) {
    const T value = std::exp(x[j] - top);
    if (e != nullptr) e[j] = value;
    sum.add(static_cast<double>(value));
  }
  return sum.value();
}

}  // namespace descent::cpu
