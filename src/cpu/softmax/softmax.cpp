// Softmax, its logarithm and their gradients. Exponents are differences from the row's maximum. Sums over rows run in
// a fixed order, in f64 (compensated for f64 elements).
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpu/accumulate.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"
#include "cpu/softmax/exponentials.h"

namespace descent::cpu {
namespace {

struct Rows {
  std::int64_t rows, n;

  explicit Rows(const Shape& shape) : n(shape.rank() == 0 ? 1 : shape[-1]) { rows = n == 0 ? 0 : shape.numel() / n; }
};

// Calls f(row) for every row, in pieces of about kExponentialPiece elements.
template <class F>
void for_rows(const Rows& size, const F& f) {
  parallel_pieces(size.rows, std::max<std::int64_t>(1, kExponentialPiece / std::max<std::int64_t>(1, size.n)),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t r = begin; r < end; ++r) f(r);
                  });
}

template <class T>
void write_row(T* dx, Write write, std::int64_t j, T value) {
  dx[j] = write == Write::accumulate ? dx[j] + value : value;
}

class CpuSoftmax final : public Softmax {
 public:
  void softmax(ConstView x, View y) override {
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T* const from = x.as<T>() + r * size.n;
        T* const to = y.as<T>() + r * size.n;
        const double sum = sum_exponentials(from, maximum(from, size.n), to, size.n);
        for (std::int64_t j = 0; j < size.n; ++j) to[j] = static_cast<T>(static_cast<double>(to[j]) / sum);
      });
    });
  }

  void softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T *const py = y.as<T>() + r * size.n, *const pdy = dy.as<T>() + r * size.n;
        const auto product = [&](std::int64_t j) { return static_cast<double>(py[j]) * static_cast<double>(pdy[j]); };
        const T mean = static_cast<T>(sum_run<T>(size.n, product).value());
        for (std::int64_t j = 0; j < size.n; ++j) {
          write_row(dx.view.as<T>() + r * size.n, dx.write, j, py[j] * (pdy[j] - mean));
        }
      });
    });
  }

  void log_softmax(ConstView x, View y) override {
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T* const from = x.as<T>() + r * size.n;
        T* const to = y.as<T>() + r * size.n;
        const T top = maximum(from, size.n);
        const double log_sum = std::log(sum_exponentials<T>(from, top, nullptr, size.n));
        for (std::int64_t j = 0; j < size.n; ++j) {
          to[j] = static_cast<T>((static_cast<double>(from[j]) - static_cast<double>(top)) - log_sum);
        }
      });
    });
  }

  void log_softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T *const py = y.as<T>() + r * size.n, *const pdy = dy.as<T>() + r * size.n;
        const T sum =
            static_cast<T>(sum_run<T>(size.n, [&](std::int64_t j) { return static_cast<double>(pdy[j]); }).value());
        for (std::int64_t j = 0; j < size.n; ++j) {
          write_row(dx.view.as<T>() + r * size.n, dx.write, j, pdy[j] - std::exp(py[j]) * sum);
        }
      });
    });
  }
};

}  // namespace

Softmax* softmax_ops() {
  static CpuSoftmax* const group = new CpuSoftmax;
  return group;
}

}  // namespace descent::cpu
