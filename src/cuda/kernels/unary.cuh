// The functions of one variable and their derivatives: `forward` is f(x), `backward` is dy f'(x) from x and y = f(x).
// NaN passes through all of them; where f has a kink the derivative is the one that PyTorch takes.
#pragma once

#include "backend.h"
#include "cuda/launch.cuh"

namespace descent::gpu {

template <class T>
__device__ T sigmoid(T x) {
  const T e = exp(-fabs(x));  // at most 1: never overflows
  return (x >= 0 ? T(1) : e) / (T(1) + e);
}

template <class T>
__device__ T normal_cdf(T x) {
  return T(0.5) * erfc(x * T(-0.70710678118654752440));
}

template <class T, Unary op>
struct UnaryFunction {
  // What backward reads, so that kernels don't load the rest.
  static constexpr bool kNeedsY = op == Unary::exp || op == Unary::sqrt || op == Unary::reciprocal ||
                                  op == Unary::relu || op == Unary::sigmoid || op == Unary::tanh;
  static constexpr bool kNeedsX = !kNeedsY && op != Unary::neg && op != Unary::affine;

  T a, b;

  __device__ T forward(T x) const {
    if constexpr (op == Unary::neg) {
      return -x;
    } else if constexpr (op == Unary::exp) {
      return exp(x);
    } else if constexpr (op == Unary::log) {
      return log(x);
    } else if constexpr (op == Unary::sqrt) {
      return sqrt(x);
    } else if constexpr (op == Unary::square) {
      return x * x;
    } else if constexpr (op == Unary::abs) {
      return fabs(x);
    } else if constexpr (op == Unary::reciprocal) {
      return T(1) / x;
    } else if constexpr (op == Unary::pow) {
      return pow(x, a);
    } else if constexpr (op == Unary::clamp) {
      const T raised = x < a ? a : x;
      return b < raised ? b : raised;
    } else if constexpr (op == Unary::affine) {
      return a * x + b;
    } else if constexpr (op == Unary::relu) {
      return x < 0 ? T(0) : x;
    } else if constexpr (op == Unary::leaky_relu) {
      return x > 0 ? x : a * x;
    } else if constexpr (op == Unary::sigmoid) {
      return sigmoid(x);
    } else if constexpr (op == Unary::tanh) {
      return tanh(x);
    } else if constexpr (op == Unary::gelu) {
      return x * normal_cdf(x);
    } else if constexpr (op == Unary::gelu_tanh) {
      return T(0.5) * x * (T(1) + tanh(inner(x)));
    } else {
      static_assert(op == Unary::silu);
      return x * sigmoid(x);
    }
  }

  __device__ T backward(T x, T y, T dy) const {
    if constexpr (op == Unary::neg) {
      return -dy;
    } else if constexpr (op == Unary::exp) {
      return dy * y;
    } else if constexpr (op == Unary::log) {
      return dy / x;
    } else if constexpr (op == Unary::sqrt) {
      return dy / (T(2) * y);
    } else if constexpr (op == Unary::square) {
      return dy * (T(2) * x);
    } else if constexpr (op == Unary::abs) {
      return x > 0 ? dy : (x < 0 ? -dy : T(0));
    } else if constexpr (op == Unary::reciprocal) {
      return -dy * y * y;
    } else if constexpr (op == Unary::pow) {
      return a == 0 ? T(0) : dy * (a * pow(x, a - T(1)));
    } else if constexpr (op == Unary::clamp) {
      return x > a && x < b ? dy : T(0);
    } else if constexpr (op == Unary::affine) {
      return dy * a;
    } else if constexpr (op == Unary::relu) {
      return y <= 0 ? T(0) : dy;
    } else if constexpr (op == Unary::leaky_relu) {
      return x > 0 ? dy : a * dy;
    } else if constexpr (op == Unary::sigmoid) {
      return dy * (y * (T(1) - y));
    } else if constexpr (op == Unary::tanh) {
      return dy * (T(1) - y * y);
    } else if constexpr (op == Unary::gelu) {
      const T density = T(0.39894228040143267794) * exp(T(-0.5) * x * x);
      return dy * (normal_cdf(x) + x * density);
    } else if constexpr (op == Unary::gelu_tanh) {
      const T t = tanh(inner(x));
      const T slope = T(kGeluScale) * (T(1) + T(3 * kGeluCube) * x * x);
      return dy * (T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * slope);
    } else {
      static_assert(op == Unary::silu);
      const T s = sigmoid(x);
      return dy * (s * (T(1) + x * (T(1) - s)));
    }
  }

 private:
  static constexpr double kGeluScale = 0.79788456080286535588;  // sqrt(2 / pi)
  static constexpr double kGeluCube = 0.044715;                 // Hendrycks and Gimpel, 2016

  __device__ static T inner(T x) { return T(kGeluScale) * (x + T(kGeluCube) * x * x * x); }
};

// f(UnaryFunction<T, op>{a, b}) for the op that is known at run time.
template <class T, class F>
void for_unary(Unary op, double a, double b, F&& f) {
  const T ta = static_cast<T>(a), tb = static_cast<T>(b);
  switch (op) {
    case Unary::neg:
      return f(UnaryFunction<T, Unary::neg>{ta, tb});
    case Unary::exp:
      return f(UnaryFunction<T, Unary::exp>{ta, tb});
    case Unary::log:
      return f(UnaryFunction<T, Unary::log>{ta, tb});
    case Unary::sqrt:
      return f(UnaryFunction<T, Unary::sqrt>{ta, tb});
    case Unary::square:
      return f(UnaryFunction<T, Unary::square>{ta, tb});
    case Unary::abs:
      return f(UnaryFunction<T, Unary::abs>{ta, tb});
    case Unary::reciprocal:
      return f(UnaryFunction<T, Unary::reciprocal>{ta, tb});
    case Unary::pow:
      return f(UnaryFunction<T, Unary::pow>{ta, tb});
    case Unary::clamp:
      return f(UnaryFunction<T, Unary::clamp>{ta, tb});
    case Unary::affine:
      return f(UnaryFunction<T, Unary::affine>{ta, tb});
    case Unary::relu:
      return f(UnaryFunction<T, Unary::relu>{ta, tb});
    case Unary::leaky_relu:
      return f(UnaryFunction<T, Unary::leaky_relu>{ta, tb});
    case Unary::sigmoid:
      return f(UnaryFunction<T, Unary::sigmoid>{ta, tb});
    case Unary::tanh:
      return f(UnaryFunction<T, Unary::tanh>{ta, tb});
    case Unary::gelu:
      return f(UnaryFunction<T, Unary::gelu>{ta, tb});
    case Unary::gelu_tanh:
      return f(UnaryFunction<T, Unary::gelu_tanh>{ta, tb});
    case Unary::silu:
      return f(UnaryFunction<T, Unary::silu>{ta, tb});
  }
}

}  // namespace descent::gpu
