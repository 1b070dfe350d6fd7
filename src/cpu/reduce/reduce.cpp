// Sums, means and maxima in a fixed order: each output is accumulated over pieces whose size depends on the shape
// alone, and the pieces are merged in sequence.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "core/broadcast.h"
#include "cpu/accumulate.h"
#include "cpu/argmax.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/reduce/kernels.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 16384;     // elements of a task
constexpr std::int64_t kMaxPieces = 1024;  // most pieces of one row
constexpr std::int64_t kColumns = 64;      // columns that are accumulated together

template <class T>
struct Maximum {
  T high = -std::numeric_limits<T>::infinity();

  void add(T value) {
    // Branch-free; NaN counts as larger.
    const bool take = static_cast<int>(value > high) | static_cast<int>(std::isnan(value));
    high = take ? value : high;
  }
  void merge(const Maximum& other) { add(other.high); }
  T value() const { return high; }
};

template <class T>
Sum<T> gather(const T* x, std::int64_t n, Sum<T>*) {
  return sum_run<T>(n, [x](std::int64_t i) { return static_cast<double>(x[i]); });
}

// Accumulates a block of up to kColumns columns over rows [begin, end) of a matrix with `inner` columns.
template <class State, class T>
void gather_columns(const T* x, std::int64_t inner, std::int64_t begin, std::int64_t end, std::int64_t width,
                    State* states) {
  std::fill_n(states, width, State{});
  if constexpr (std::is_same_v<State, Sum<float>>) {
    static_assert(sizeof(State) == sizeof(double));
    if (!reference_only()) {
      return reduce_kernels().add_columns(x + begin * inner, inner, end - begin, width, &states->high);
    }
  }
  for (std::int64_t i = begin; i < end; ++i) {
    const T* const row = x + i * inner;
    for (std::int64_t j = 0; j < width; ++j) states[j].add(row[j]);
  }
}

// A long run is treated as a matrix, so that the compiler vectorizes across its columns.
template <class T>
Maximum<T> gather(const T* x, std::int64_t n, Maximum<T>*) {
  constexpr std::int64_t kWidth = 32;
  Maximum<T> top;
  std::int64_t i = 0;
  if (n >= 2 * kWidth) {
    std::array<Maximum<T>, kWidth> lane;
    gather_columns(x, kWidth, 0, n / kWidth, kWidth, lane.data());
    for (const Maximum<T>& one : lane) top.merge(one);
    i = n / kWidth * kWidth;
  }
  for (; i < n; ++i) top.add(x[i]);
  return top;
}

// Reduces one run of elements of any length, in pieces.
template <class State, class Gather>
State gather_pieces(std::int64_t n, const Gather& gather_range) {
  if (n <= kPiece) return gather_range(0, n);
  const std::int64_t piece = std::max(kPiece, (n - 1) / kMaxPieces + 1);
  std::array<State, kMaxPieces> states;
  parallel_pieces(n, piece, [&](std::int64_t begin, std::int64_t end) {
    states[static_cast<std::size_t>(begin / piece)] = gather_range(begin, end);
  });
  State total = states[0];
  for (std::int64_t i = 1; i * piece < n; ++i) total.merge(states[static_cast<std::size_t>(i)]);
  return total;
}

// Calls emit(i, state) for each of `rows` rows of n elements.
template <class State, class T, class Emit>
void reduce_rows(const T* x, std::int64_t rows, std::int64_t n, const Emit& emit) {
  constexpr State* kind = nullptr;
  if (n > kPiece) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* const row = x + r * n;
      emit(r, gather_pieces<State>(
                  n, [=](std::int64_t begin, std::int64_t end) { return gather(row + begin, end - begin, kind); }));
    }
    return;
  }
  parallel_pieces(rows, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, n)),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t r = begin; r < end; ++r) emit(r, gather(x + r * n, n, kind));
                  });
}

// Calls emit(o * inner + j, state) for each column j of each of `outer` matrices [n, inner].
template <class State, class T, class Emit>
void reduce_columns(const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Emit& emit) {
  const std::int64_t blocks = (inner - 1) / kColumns + 1;
  const std::int64_t chunk = std::max(kPiece / std::min(inner, kColumns), (n - 1) / kMaxPieces + 1);
  const std::int64_t chunks = n == 0 ? 1 : (n - 1) / chunk + 1;
  const auto block = [&](std::int64_t o, std::int64_t b, std::int64_t begin, std::int64_t end, State* states) {
    const std::int64_t column = b * kColumns;
    gather_columns(x + o * n * inner + column, inner, begin, end, std::min(kColumns, inner - column), states);
  };
  const auto emit_block = [&](std::int64_t o, std::int64_t b, const State* states) {
    const std::int64_t column = b * kColumns, width = std::min(kColumns, inner - column);
    for (std::int64_t j = 0; j < width; ++j) emit(o * inner + column + j, states[j]);
  };
  if (chunks == 1) {
    const std::int64_t group =
        std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, n * std::min(inner, kColumns)));
    parallel_pieces(outer * blocks, group, [&](std::int64_t begin, std::int64_t end) {
      std::array<State, kColumns> states;
      for (std::int64_t task = begin; task < end; ++task) {
        block(task / blocks, task % blocks, 0, n, states.data());
        emit_block(task / blocks, task % blocks, states.data());
      }
    });
    return;
  }
  const Scratch<State> partial(blocks * chunks * kColumns);
  for (std::int64_t o = 0; o < outer; ++o) {
    parallel_for(blocks * chunks, [&](std::int64_t task) {
      const std::int64_t begin = task % chunks * chunk;
      block(o, task / chunks, begin, std::min(n, begin + chunk), partial.data() + task * kColumns);
    });
    for (std::int64_t b = 0; b < blocks; ++b) {
      State* const total = partial.data() + b * chunks * kColumns;
      const std::int64_t width = std::min(kColumns, inner - b * kColumns);
      for (std::int64_t c = 1; c < chunks; ++c) {
        for (std::int64_t j = 0; j < width; ++j) total[j].merge(total[c * kColumns + j]);
      }
      emit_block(o, b, total);
    }
  }
}

template <class State, class T, class Emit>
void reduce_any(const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Emit& emit) {
  if (outer == 0 || inner == 0) return;
  if (inner == 1) {
    reduce_rows<State>(x, outer, n, emit);
  } else {
    reduce_columns<State>(x, outer, n, inner, emit);
  }
}

template <class T>
void write(Grad y, std::int64_t i, double value) {
  T& to = y.view.as<T>()[i];
  to = y.write == Write::accumulate ? static_cast<T>(static_cast<double>(to) + value) : static_cast<T>(value);
}

// Sums over any pattern of axes: each output element iterates over the summed ones.
template <class T>
void sum_scattered(const SumAxes& axes, const T* x, Grad y) {
  std::array<std::int64_t, Shape::kMaxRank> stride{};
  std::int64_t step = 1, terms = 1;
  for (int i = axes.rank - 1; i >= 0; --i) {
    const auto axis = static_cast<std::size_t>(i);
    stride[axis] = step;
    step *= axes.size[axis];
    if (axes.summed[axis]) terms *= axes.size[axis];
  }
  // Offset of the index-th combination of the summed or of the other axes.
  const auto offset = [&](std::int64_t index, bool summed) {
    std::int64_t at = 0;
    for (int i = axes.rank - 1; i >= 0; --i) {
      const auto axis = static_cast<std::size_t>(i);
      if (axes.summed[axis] != summed) continue;
      at += index % axes.size[axis] * stride[axis];
      index /= axes.size[axis];
    }
    return at;
  };
  const auto last = static_cast<std::size_t>(axes.rank - 1);
  const std::int64_t run = axes.summed[last] ? axes.size[last] : 1;  // contiguous summed elements
  parallel_pieces(y.view.numel(), std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, terms)),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const T* const start = x + offset(i, false);
                      Sum<T> total;
                      for (std::int64_t t = 0; t < terms; t += run) {
                        total.merge(gather(start + offset(t, true), run, static_cast<Sum<T>*>(nullptr)));
                      }
                      write<T>(y, i, total.value());
                    }
                  });
}

// order[0..k) = the indices of the k largest elements of a row: NaN first, equal elements in index order.
template <class T>
void top_of_row(const T* row, std::int64_t k, std::vector<std::int32_t>& order) {
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [row](std::int32_t a, std::int32_t b) {
    const bool nan_a = std::isnan(row[a]), nan_b = std::isnan(row[b]);
    if (nan_a != nan_b) return nan_a;
    if (!nan_a && row[a] != row[b]) return row[a] > row[b];
    return a < b;
  });
}

class CpuReduce final : public Reduce {
 public:
  void reduce(ReduceOp op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) override {
    if (!y) return;
    for_floating(x.dtype, [&]<class T>(T) {
      if (op == ReduceOp::max) {
        reduce_any<Maximum<T>>(x.as<T>(), outer, n, inner, [&](std::int64_t i, const Maximum<T>& m) {
          write<T>(y, i, static_cast<double>(m.value()));
        });
        return;
      }
      const double divisor = op == ReduceOp::mean ? static_cast<double>(n) : 1.0;
      reduce_any<Sum<T>>(x.as<T>(), outer, n, inner,
                         [&](std::int64_t i, const Sum<T>& s) { write<T>(y, i, s.value() / divisor); });
    });
  }

  void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n, std::int64_t inner,
                    Grad dx) override {
    if (!dx) return;
    for_floating(x.dtype, [&]<class T>(T) {
      const T *const px = x.as<T>(), *const py = y.as<T>(), *const pdy = dy.as<T>();
      T* const to = dx.view.as<T>();
      // One output element: its group is n elements, `inner` apart.
      const auto group = [&](std::int64_t o, std::int64_t j) {
        const T top = py[o * inner + j];
        const T* const from = px + o * n * inner + j;
        T* const into = to + o * n * inner + j;
        std::int64_t first = 0;
        while (first < n && !(from[first * inner] == top || (std::isnan(top) && std::isnan(from[first * inner]))))
          ++first;
        if (dx.write == Write::overwrite) {
          for (std::int64_t i = 0; i < n; ++i) into[i * inner] = 0;
        }
        if (first < n) into[first * inner] += pdy[o * inner + j];
      };
      parallel_pieces(outer * inner, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, n)),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t i = begin; i < end; ++i) group(i / inner, i % inner);
                      });
    });
  }

  void sum_to(ConstView x, Grad y) override {
    if (!y || y.view.numel() == 0) return;
    const SumAxes axes(x.shape, y.view.shape);
    const auto is = [&](std::initializer_list<bool> pattern) {
      return axes.rank == static_cast<int>(pattern.size()) &&
             std::equal(pattern.begin(), pattern.end(), axes.summed.begin());
    };
    const auto& size = axes.size;
    if (axes.rank == 0) return reduce(ReduceOp::sum, x, 1, 1, 1, y);
    if (is({true})) return reduce(ReduceOp::sum, x, 1, size[0], 1, y);
    if (is({false})) return reduce(ReduceOp::sum, x, size[0], 1, 1, y);
    if (is({true, false})) return reduce(ReduceOp::sum, x, 1, size[0], size[1], y);
    if (is({false, true})) return reduce(ReduceOp::sum, x, size[0], size[1], 1, y);
    if (is({false, true, false})) return reduce(ReduceOp::sum, x, size[0], size[1], size[2], y);
    for_floating(x.dtype, [&]<class T>(T) { sum_scattered<T>(axes, x.as<T>(), y); });
  }

  void argmax_rows(ConstView x, View y) override {
    const std::int64_t rows = y.numel(), n = rows == 0 ? 0 : x.numel() / rows;
    for_floating(x.dtype, [&]<class T>(T) {
      parallel_pieces(rows, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, n)),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t r = begin; r < end; ++r) {
                          y.as<std::int32_t>()[r] = static_cast<std::int32_t>(first_maximum(x.as<T>() + r * n, n));
                        }
                      });
    });
  }

  void top_k(ConstView x, View values, View indices) override {
    const std::int64_t rows = x.shape[0], n = x.shape[1], k = values.shape[1];
    for_floating(x.dtype, [&]<class T>(T) {
      parallel_pieces(rows, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, n)),
                      [&](std::int64_t begin, std::int64_t end) {
                        std::vector<std::int32_t> order(static_cast<std::size_t>(n));
                        for (std::int64_t r = begin; r < end; ++r) {
                          top_of_row(x.as<T>() + r * n, k, order);
                          for (std::int64_t i = 0; i < k; ++i) {
                            const std::int32_t place = order[static_cast<std::size_t>(i)];
                            values.as<T>()[r * k + i] = x.as<T>()[r * n + place];
                            indices.as<std::int32_t>()[r * k + i] = place;
                          }
                        }
                      });
    });
  }

  void sum_of_squares(ConstView x, View y) override {
    for_floating(x.dtype, [&]<class T>(T) {
      const T* const from = x.as<T>();
      const Sum<T> total = gather_pieces<Sum<T>>(x.numel(), [from](std::int64_t begin, std::int64_t end) {
        return sum_run<T>(end - begin, [start = from + begin](std::int64_t i) {
          const double value = static_cast<double>(start[i]);
          return value * value;
        });
      });
      *y.as<double>() = total.value();
    });
  }
};

}  // namespace

Reduce* reduce_ops() {
  static CpuReduce* const group = new CpuReduce;
  return group;
}

}  // namespace descent::cpu
