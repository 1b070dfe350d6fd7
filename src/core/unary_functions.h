// The unary functions and their derivatives, written once for every fast path. forward is f(x); backward is dy f'(x),
// from x and y = f(x). NaN passes through all functions, except pow with exponent 0. At a kink the derivative is
// PyTorch's, for clamp that of hardtanh (0 at the bounds). The CPU's reference implementation
// (src/cpu/elementwise/reference.cpp) states each function a second time, independently.
//
// V is an element, or a SIMD vector of elements; S is the type of the parameters a and b; M has the functions of the
// standard library on V. A new function is a value of Unary and a specialization of UnaryFunction.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "core/host_device.h"

namespace descent {

// Parameters a and b: leaky_relu (a: slope), pow (a: exponent), clamp (a: low, b: high), affine (a * x + b).
enum class Unary : std::uint8_t {
  neg,
  exp,
  log,
  sqrt,
  square,
  abs,
  reciprocal,
  pow,
  clamp,
  affine,
  relu,
  leaky_relu,
  sigmoid,
  tanh,
  gelu,
  gelu_tanh,
  silu
};
inline constexpr int kUnaryFunctions = static_cast<int>(Unary::silu) + 1;

// What backward reads, so that loops don't load the rest; `cheap`: no call of the standard library, so loops vectorize.
struct UnaryTraits {
  bool reads_x = true, reads_y = false, cheap = false;
};
inline constexpr UnaryTraits kReadsX{}, kReadsY{.reads_x = false, .reads_y = true};
inline constexpr UnaryTraits kCheapReadsX{.cheap = true},
    kCheapReadsY{.reads_x = false, .reads_y = true, .cheap = true};
inline constexpr UnaryTraits kCheapReadsNothing{.reads_x = false, .cheap = true};

struct ScalarMath {
#define DESCENT_FUNCTION DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE static
  template <class V>
  DESCENT_FUNCTION V exp(V x) {
    return std::exp(x);
  }
  template <class V>
  DESCENT_FUNCTION V log(V x) {
    return std::log(x);
  }
  template <class V>
  DESCENT_FUNCTION V sqrt(V x) {
    return std::sqrt(x);
  }
  template <class V>
  DESCENT_FUNCTION V abs(V x) {
    return std::abs(x);
  }
  template <class V>
  DESCENT_FUNCTION V pow(V x, V exponent) {
    return std::pow(x, exponent);
  }
  template <class V>
  DESCENT_FUNCTION V tanh(V x) {
    return std::tanh(x);
  }
  template <class V>
  DESCENT_FUNCTION V erfc(V x) {
    return std::erfc(x);
  }
};

template <class V, class S>
DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE V lift(S s) {  // s in every lane
  return s - V{};
}

template <class M, class S, class V>
DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE V sigmoid_of(V x) {
  const V e = M::exp(-M::abs(x));  // at most 1: never overflows
  return (x >= V{} ? lift<V>(S(1)) : e) / (S(1) + e);
}

template <class M, class S, class V>
DESCENT_HOST_DEVICE DESCENT_ALWAYS_INLINE V normal_cdf(V x) {
  return S(0.5) * M::erfc(x * S(-0.70710678118654752440));
}

template <Unary op>
struct UnaryFunction;

template <>
struct UnaryFunction<Unary::neg> {
  static constexpr UnaryTraits kTraits = kCheapReadsNothing;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return -x;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V, V dy, S, S) {
    return -dy;
  }
};

template <>
struct UnaryFunction<Unary::exp> {
  static constexpr UnaryTraits kTraits = kReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return M::exp(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return dy * y;
  }
};

template <>
struct UnaryFunction<Unary::log> {
  static constexpr UnaryTraits kTraits = kReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return M::log(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    return dy / x;
  }
};

template <>
struct UnaryFunction<Unary::sqrt> {
  static constexpr UnaryTraits kTraits = kCheapReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return M::sqrt(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return dy / (S(2) * y);
  }
};

template <>
struct UnaryFunction<Unary::square> {
  static constexpr UnaryTraits kTraits = kCheapReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return x * x;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    return dy * (S(2) * x);
  }
};

template <>
struct UnaryFunction<Unary::abs> {
  static constexpr UnaryTraits kTraits = kCheapReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return M::abs(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    const V negative = x < V{} ? -dy : V{};
    return x > V{} ? dy : negative;
  }
};

template <>
struct UnaryFunction<Unary::reciprocal> {
  static constexpr UnaryTraits kTraits = kCheapReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return S(1) / x;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return -dy * y * y;
  }
};

template <>
struct UnaryFunction<Unary::pow> {
  static constexpr UnaryTraits kTraits = kReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S exponent, S) {
    return M::pow(x, lift<V>(exponent));
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S exponent, S) {
    return exponent == 0 ? V{} : dy * (exponent * M::pow(x, lift<V>(exponent - S(1))));
  }
};

template <>
struct UnaryFunction<Unary::clamp> {
  static constexpr UnaryTraits kTraits = kCheapReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S low, S high) {
    const V least = lift<V>(low), most = lift<V>(high);
    const V raised = x < least ? least : x;
    return most < raised ? most : raised;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S low, S high) {
    const V above = x > lift<V>(low) ? dy : V{};
    return x < lift<V>(high) ? above : V{};
  }
};

template <>
struct UnaryFunction<Unary::affine> {
  static constexpr UnaryTraits kTraits = kCheapReadsNothing;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S a, S b) {
    return a * x + b;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V, V dy, S a, S) {
    return dy * a;
  }
};

template <>
struct UnaryFunction<Unary::relu> {
  static constexpr UnaryTraits kTraits = kCheapReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return x < V{} ? V{} : x;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return y <= V{} ? V{} : dy;
  }
};

template <>
struct UnaryFunction<Unary::leaky_relu> {
  static constexpr UnaryTraits kTraits = kCheapReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S slope, S) {
    const V scaled = slope * x;
    return x > V{} ? x : scaled;
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S slope, S) {
    const V scaled = slope * dy;
    return x > V{} ? dy : scaled;
  }
};

template <>
struct UnaryFunction<Unary::sigmoid> {
  static constexpr UnaryTraits kTraits = kReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return sigmoid_of<M, S>(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return dy * (y * (S(1) - y));
  }
};

template <>
struct UnaryFunction<Unary::tanh> {
  static constexpr UnaryTraits kTraits = kReadsY;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return M::tanh(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V, V y, V dy, S, S) {
    return dy * (S(1) - y * y);
  }
};

template <>
struct UnaryFunction<Unary::gelu> {
  static constexpr UnaryTraits kTraits = kReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return x * normal_cdf<M, S>(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    const V density = S(0.39894228040143267794) * M::exp(S(-0.5) * x * x);
    return dy * (normal_cdf<M, S>(x) + x * density);
  }
};

template <>
struct UnaryFunction<Unary::gelu_tanh> {  // Hendrycks and Gimpel, 2016
  static constexpr UnaryTraits kTraits = kReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return S(0.5) * x * (S(1) + M::tanh(inner<S>(x)));
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    const V t = M::tanh(inner<S>(x));
    const V slope = S(kScale) * (S(1) + S(3 * kCube) * x * x);
    return dy * (S(0.5) * (S(1) + t) + S(0.5) * x * (S(1) - t * t) * slope);
  }

 private:
  static constexpr double kScale = 0.79788456080286535588;  // sqrt(2 / pi)
  static constexpr double kCube = 0.044715;
  template <class S, class V>
  DESCENT_FUNCTION V inner(V x) {
    return S(kScale) * (x + S(kCube) * x * x * x);
  }
};

template <>
struct UnaryFunction<Unary::silu> {
  static constexpr UnaryTraits kTraits = kReadsX;
  template <class M, class V, class S>
  DESCENT_FUNCTION V forward(V x, S, S) {
    return x * sigmoid_of<M, S>(x);
  }
  template <class M, class V, class S>
  DESCENT_FUNCTION V backward(V x, V, V dy, S, S) {
    const V s = sigmoid_of<M, S>(x);
    return dy * (s * (S(1) + x * (S(1) - s)));
  }
};
#undef DESCENT_FUNCTION

// Calls f(UnaryFunction<op>()) for an op that is known at run time.
template <class F>
void for_unary(Unary op, F&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    ((op == static_cast<Unary>(i) ? f(UnaryFunction<static_cast<Unary>(i)>()) : void()), ...);
  }
  (std::make_integer_sequence<int, kUnaryFunctions>());
}

}  // namespace descent
