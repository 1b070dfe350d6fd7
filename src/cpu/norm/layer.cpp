// Layer normalization, fast path. Rows are independent; parameter gradients sum fixed groups of rows, in order.
#include "cpu/norm/internal.h"
#include "cpu/norm/plan.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 15;
constexpr std::int64_t kGroupRows = 64;  // summed in T

template <class T>
const LayerKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return norm_layer_f32();
  } else {
    return norm_layer_f64();
  }
}

std::int64_t rows_per_task(std::int64_t n) {
  return std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(1, n));
}

}  // namespace

template <class T>
void layer_forward(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) {
  const std::int64_t rows = mean.numel(), n = rows > 0 ? x.numel() / rows : 0;
  parallel_pieces(rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      kernels<T>().forward(n, x.as<T>() + i * n, gamma.as<T>(), beta.as<T>(), eps, y.as<T>() + i * n, mean.as<T>() + i,
                           inv_std.as<T>() + i);
    }
  });
}

template <class T>
void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma,
                    Grad dbeta) {
  const std::int64_t rows = mean.numel(), n = x.shape[-1];
  if (dx) {
    parallel_pieces(rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        kernels<T>().backward(n, x.as<T>() + i * n, dy.as<T>() + i * n, gamma.as<T>(), mean.as<T>()[i],
                              inv_std.as<T>()[i], dx.view.as<T>() + i * n, dx.write == Write::accumulate);
      }
    });
  }
  if (!dgamma && !dbeta) return;
  const std::int64_t grain = (rows_per_task(n) + kGroupRows - 1) / kGroupRows * kGroupRows;
  const std::int64_t tasks = (rows + grain - 1) / grain;
  const Scratch<double> parts(std::max<std::int64_t>(1, tasks) * 2 * n), totals(2 * n);
  parallel_for(tasks, [&](std::int64_t task) {
    const Scratch<T> work(2 * n);
    double* const part = parts.data() + task * 2 * n;
    std::fill(part, part + 2 * n, 0.0);
    const std::int64_t end = std::min(rows, (task + 1) * grain);
    for (std::int64_t i = task * grain; i < end; i += kGroupRows) {
      kernels<T>().parameter_sums(std::min(kGroupRows, end - i), n, x.as<T>() + i * n, dy.as<T>() + i * n,
                                  mean.as<T>() + i, inv_std.as<T>() + i, work.data(), work.data() + n);
      for (std::int64_t j = 0; j < 2 * n; ++j) part[j] += static_cast<double>(work[j]);
    }
  });
  add_parts(parts.data(), tasks, 2 * n, 2 * n, totals.data());
  const auto write = [n](Grad g, const double* values) {
    if (!g) return;
    T* const to = g.view.as<T>();
    for (std::int64_t j = 0; j < n; ++j) {
      to[j] = static_cast<T>(g.write == Write::accumulate ? static_cast<double>(to[j]) + values[j] : values[j]);
    }
  };
  write(dbeta, totals.data());
  write(dgamma, totals.data() + n);
}

template void layer_forward<float>(ConstView, ConstView, ConstView, double, View, View, View);
template void layer_forward<double>(ConstView, ConstView, ConstView, double, View, View, View);
template void layer_backward<float>(ConstView, ConstView, ConstView, ConstView, ConstView, Grad, Grad, Grad);
template void layer_backward<double>(ConstView, ConstView, ConstView, ConstView, ConstView, Grad, Grad, Grad);

}  // namespace descent::cpu
