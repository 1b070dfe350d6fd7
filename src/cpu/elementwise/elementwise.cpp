// Elementwise ops. Work is cut into pieces of fixed size; elements are independent, so results
// do not depend on the cut.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/broadcast.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise/reference.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 16384;  // elements of a task in a memory-bound loop
constexpr std::int64_t kCostly = 2048;  // elements of a task in a loop that calls libm

// Converts as C++ does, but a floating-point value outside an integer type's range saturates, and NaN becomes 0.
template <class To, class From>
To convert_element(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, Bf16>) {
    return convert_element<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, Bf16>) {
    return Bf16(static_cast<float>(x));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    const double wide = static_cast<double>(x);
    if (std::isnan(wide)) return 0;
    return static_cast<To>(std::clamp(wide, static_cast<double>(std::numeric_limits<To>::min()),
                                      static_cast<double>(std::numeric_limits<To>::max())));
  } else {
    return static_cast<To>(x);
  }
}

// dst[i] (=, +=) value(i) for one piece. ivdep: an output is either an input itself or does not overlap it.
template <bool accumulate, class T, class Value>
void write_elements(T* dst, std::int64_t begin, std::int64_t end, const Value& value) {
#pragma GCC ivdep
  for (std::int64_t i = begin; i < end; ++i) {
    if constexpr (accumulate) {
      dst[i] += value(i);
    } else {
      dst[i] = value(i);
    }
  }
}

template <Binary op, class T>
T apply(T a, T b) {
  if constexpr (op == Binary::add) return a + b;
  if constexpr (op == Binary::sub) return a - b;
  if constexpr (op == Binary::mul) return a * b;
  if constexpr (op == Binary::div) return a / b;
}

template <Binary op, bool accumulate, class T>
void binary_row(const T* a, bool a_moves, const T* b, bool b_moves, T* y, std::int64_t n) {
  if (a_moves && b_moves) {
    write_elements<accumulate>(y, 0, n, [=](std::int64_t i) { return apply<op>(a[i], b[i]); });
  } else if (a_moves) {
    const T scalar = *b;
    write_elements<accumulate>(y, 0, n, [=](std::int64_t i) { return apply<op>(a[i], scalar); });
  } else if (b_moves) {
    const T scalar = *a;
    write_elements<accumulate>(y, 0, n, [=](std::int64_t i) { return apply<op>(scalar, b[i]); });
  } else {
    const T value = apply<op>(*a, *b);
    write_elements<accumulate>(y, 0, n, [=](std::int64_t) { return value; });
  }
}

template <Binary op, bool accumulate, class T>
void binary_all(const Broadcast& walk, const T* a, const T* b, T* y) {
  const std::int64_t inner = walk.inner(), outer = walk.outer();
  const bool a_moves = walk.inner_stride_a() != 0, b_moves = walk.inner_stride_b() != 0;
  const auto row = [&](std::int64_t r, std::int64_t begin, std::int64_t end) {
    std::int64_t at_a = 0, at_b = 0;
    walk.row_start(r, at_a, at_b);
    binary_row<op, accumulate>(a + at_a + (a_moves ? begin : 0), a_moves, b + at_b + (b_moves ? begin : 0), b_moves,
                               y + r * inner + begin, end - begin);
  };
  if (inner >= kPiece) {
    const std::int64_t pieces = (inner - 1) / kPiece + 1;
    parallel_for(outer * pieces, [&](std::int64_t task) {
      const std::int64_t begin = task % pieces * kPiece;
      row(task / pieces, begin, std::min(inner, begin + kPiece));
    });
  } else {
    parallel_pieces(outer, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, inner)),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t r = begin; r < end; ++r) row(r, 0, inner);
                    });
  }
}

template <bool accumulate, class T>
void binary_op(Binary op, const Broadcast& walk, const T* a, const T* b, T* y) {
  switch (op) {
    case Binary::add:
      return binary_all<Binary::add, accumulate>(walk, a, b, y);
    case Binary::sub:
      return binary_all<Binary::sub, accumulate>(walk, a, b, y);
    case Binary::mul:
      return binary_all<Binary::mul, accumulate>(walk, a, b, y);
    case Binary::div:
      return binary_all<Binary::div, accumulate>(walk, a, b, y);
  }
}

double read_factor(ConstView factor) {
  double value = 1;
  for_any(factor.dtype, [&]<class T>(T) { value = convert_element<double>(*factor.as<T>()); });
  return value;
}

template <Unary op>
constexpr std::int64_t piece_of(UnaryFunction<op>) {
  return UnaryFunction<op>::kTraits.cheap ? kPiece : kCostly;
}

class CpuElementwise final : public Elementwise {
 public:
  void fill(View y, double value) override {
    for_any(y.dtype, [&]<class T>(T) {
      const T element = convert_element<T>(value);
      parallel_pieces(y.numel(), kPiece, [&](std::int64_t begin, std::int64_t end) {
        std::fill(y.as<T>() + begin, y.as<T>() + end, element);
      });
    });
  }

  void convert(ConstView x, View y) override {
    for_any(x.dtype, [&]<class From>(From) {
      for_any(y.dtype, [&]<class To>(To) {
        const From* const from = x.as<From>();
        To* const to = y.as<To>();
        parallel_pieces(x.numel(), kPiece, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) to[i] = convert_element<To>(from[i]);
        });
      });
    });
  }

  void unary(Unary op, double a, double b, ConstView x, View y) override {
    for_floating(x.dtype, [&]<class T>(T) {
      const T ta = static_cast<T>(a), tb = static_cast<T>(b);
      const T* const from = x.as<T>();
      const auto write = [&](std::int64_t piece, const auto& value) {
        parallel_pieces(x.numel(), piece, [&](std::int64_t begin, std::int64_t end) {
          write_elements<false>(y.as<T>(), begin, end, value);
        });
      };
      if (reference_only()) {
        return write(kCostly, [=](std::int64_t i) { return unary_reference<T>(op, ta, tb, from[i]); });
      }
      for_unary(op, [&]<Unary which>(UnaryFunction<which> f) {
        write(piece_of(f), [=](std::int64_t i) { return f.template forward<ScalarMath>(from[i], ta, tb); });
      });
    });
  }

  void unary_backward(Unary op, double a, double b, ConstView x, ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    for_floating(dy.dtype, [&]<class T>(T) {
      const T ta = static_cast<T>(a), tb = static_cast<T>(b);
      const T *const px = x.as<T>(), *const py = y.as<T>(), *const pdy = dy.as<T>();
      T* const to = dx.view.as<T>();
      for_unary(op, [&]<Unary which>(UnaryFunction<which> f) {
        constexpr UnaryTraits kTraits = f.kTraits;
        const auto write = [&](const auto& value) {
          parallel_pieces(dy.numel(), piece_of(f), [&](std::int64_t begin, std::int64_t end) {
            if (dx.write == Write::accumulate) {
              write_elements<true>(to, begin, end, value);
            } else {
              write_elements<false>(to, begin, end, value);
            }
          });
        };
        const auto at_x = [=](std::int64_t i) { return kTraits.reads_x ? px[i] : T(0); };
        const auto at_y = [=](std::int64_t i) { return kTraits.reads_y ? py[i] : T(0); };
        if (reference_only()) {
          return write(
              [=](std::int64_t i) { return unary_backward_reference<T>(op, ta, tb, at_x(i), at_y(i), pdy[i]); });
        }
        write([=](std::int64_t i) { return f.template backward<ScalarMath>(at_x(i), at_y(i), pdy[i], ta, tb); });
      });
    });
  }

  void binary(Binary op, ConstView a, ConstView b, View y, Write write) override {
    if (y.numel() == 0) return;
    for_floating(y.dtype, [&]<class T>(T) {
      const Broadcast walk(y.shape, a.shape, b.shape);
      if (write == Write::accumulate) {
        binary_op<true>(op, walk, a.as<T>(), b.as<T>(), y.as<T>());
      } else {
        binary_op<false>(op, walk, a.as<T>(), b.as<T>(), y.as<T>());
      }
    });
  }

  void axpby(double alpha, ConstView x, double beta, View y) override {
    for_floating(y.dtype, [&]<class T>(T) {
      const T *const from = x.as<T>(), ta = static_cast<T>(alpha), tb = static_cast<T>(beta);
      T* const to = y.as<T>();
      parallel_pieces(y.numel(), kPiece, [&](std::int64_t begin, std::int64_t end) {
        if (tb == 0) {
          write_elements<false>(to, begin, end, [=](std::int64_t i) { return ta * from[i]; });
        } else {
          write_elements<false>(to, begin, end, [=](std::int64_t i) { return ta * from[i] + tb * to[i]; });
        }
      });
    });
  }

  void scale_by(View x, ConstView factor) override {
    const double value = read_factor(factor);
    for_floating(x.dtype, [&]<class T>(T) {
      T* const to = x.as<T>();
      const T scale = static_cast<T>(value);
      parallel_pieces(x.numel(), kPiece, [&](std::int64_t begin, std::int64_t end) {
        write_elements<false>(to, begin, end, [=](std::int64_t i) { return to[i] * scale; });
      });
    });
  }
};

}  // namespace

Elementwise* elementwise_ops() {
  static CpuElementwise* const group = new CpuElementwise;
  return group;
}

}  // namespace descent::cpu
