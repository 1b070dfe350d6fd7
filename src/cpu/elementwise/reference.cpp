// The unary functions and their derivatives as PyTorch's documentation states them, element by element.
#include "cpu/elementwise/reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace descent::cpu {
namespace {

template <class T>
T logistic(T x) {  // 1 / (1 + exp(-x)) without overflow
  return x < 0 ? std::exp(x) / (T(1) + std::exp(x)) : T(1) / (T(1) + std::exp(-x));
}

template <class T>
T normal_cumulative(T x) {
  return std::erfc(-x / std::numbers::sqrt2_v<T>) / T(2);
}

// The argument of gelu's approximation by tanh.
template <class T>
T gelu_argument(T x) {
  return std::sqrt(T(2) / std::numbers::pi_v<T>) * (x + T(0.044715) * x * x * x);
}

}  // namespace

template <class T>
T unary_reference(Unary op, T a, T b, T x) {
  switch (op) {
    case Unary::neg:
      return -x;
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::square:
      return x * x;
    case Unary::abs:
      return std::abs(x);
    case Unary::reciprocal:
      return 1 / x;
    case Unary::pow:
      return std::pow(x, a);
    case Unary::clamp:
      return std::isnan(x) ? x : std::min(std::max(x, a), b);
    case Unary::affine:
      return a * x + b;
    case Unary::relu:
      return std::isnan(x) ? x : std::max(x, T(0));
    case Unary::leaky_relu:
      return x > 0 ? x : a * x;
    case Unary::sigmoid:
      return logistic(x);
    case Unary::tanh:
      return std::tanh(x);
    case Unary::gelu:
      return x * normal_cumulative(x);
    case Unary::gelu_tanh:
      return x / 2 * (1 + std::tanh(gelu_argument(x)));
    case Unary::silu:
      return x * logistic(x);
  }
  return x;
}

template <class T>
T unary_backward_reference(Unary op, T a, T b, T x, T y, T dy) {
  switch (op) {
    case Unary::neg:
      return -dy;
    case Unary::exp:
      return dy * y;
    case Unary::log:
      return dy / x;
    case Unary::sqrt:
      return dy / (2 * y);
    case Unary::square:
      return dy * (2 * x);
    case Unary::abs:
      return x > 0 ? dy : x < 0 ? -dy : T(0);
    case Unary::reciprocal:
      return -dy * y * y;
    case Unary::pow:
      return a == 0 ? T(0) : dy * (a * std::pow(x, a - 1));
    case Unary::clamp:
      return x > a && x < b ? dy : T(0);
    case Unary::affine:
      return dy * a;
    case Unary::relu:
      return y <= 0 ? T(0) : dy;
    case Unary::leaky_relu:
      return x > 0 ? dy : a * dy;
    case Unary::sigmoid:
      return dy * (y * (1 - y));
    case Unary::tanh:
      return dy * (1 - y * y);
    case Unary::gelu: {
      const T density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi_v<T>);
      return dy * (normal_cumulative(x) + x * density);
    }
    case Unary::gelu_tanh: {
      const T t = std::tanh(gelu_argument(x));
      const T slope = std::sqrt(T(2) / std::numbers::pi_v<T>) * (1 + 3 * T(0.044715) * x * x);
      return dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * slope);
    }
    case Unary::silu:
      return dy * (logistic(x) * (1 + x * (1 - logistic(x))));
  }
  return dy;
}

template float unary_reference(Unary, float, float, float);
template double unary_reference(Unary, double, double, double);
template float unary_backward_reference(Unary, float, float, float, float, float);
template double unary_backward_reference(Unary, double, double, double, double, double);

}  // namespace descent::cpu
