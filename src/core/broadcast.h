// Sizes and strides for two operands that are broadcast to one shape. Axes that both operands traverse in step are
// merged, so that [N, H, W, C] + [C] becomes two axes and equal shapes become one. Each backend has its own loops.
// SumAxes is the counterpart for the gradient, a sum over the repeated axes.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "descent/shape.h"

namespace descent {

struct Broadcast {
  int rank = 1;  // 1 or more; the last axis is the innermost
  std::array<std::int64_t, Shape::kMaxRank> size{1}, stride_a{0}, stride_b{0};  // strides in elements, 0 if repeated

  Broadcast(const Shape& y, const Shape& a, const Shape& b) {
    rank = 0;
    std::int64_t step_a = 1, step_b = 1;
    for (int back = 1; back <= y.rank(); ++back) {  // from the innermost axis outwards; reversed below
      const std::int64_t n = y[-back];
      const std::int64_t na = back <= a.rank() ? a[-back] : 1, nb = back <= b.rank() ? b[-back] : 1;
      const std::int64_t sa = na == 1 ? 0 : step_a, sb = nb == 1 ? 0 : step_b;
      step_a *= na;
      step_b *= nb;
      if (n == 1) continue;
      if (rank > 0 && follows(sa, stride_a, size) && follows(sb, stride_b, size)) {
        at(size, rank - 1) *= n;
        continue;
      }
      at(size, rank) = n;
      at(stride_a, rank) = sa;
      at(stride_b, rank) = sb;
      ++rank;
    }
    if (rank == 0) *this = Broadcast();
    for (int i = 0, j = rank - 1; i < j; ++i, --j) {
      std::swap(at(size, i), at(size, j));
      std::swap(at(stride_a, i), at(stride_a, j));
      std::swap(at(stride_b, i), at(stride_b, j));
    }
  }

  std::int64_t inner() const { return size[static_cast<std::size_t>(rank - 1)]; }
  std::int64_t outer() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank - 1; ++i) product *= size[static_cast<std::size_t>(i)];
    return product;
  }
  std::int64_t inner_stride_a() const { return stride_a[static_cast<std::size_t>(rank - 1)]; }
  std::int64_t inner_stride_b() const { return stride_b[static_cast<std::size_t>(rank - 1)]; }

  // The offsets in a and b at which row `row` of the outer axes (row-major) begins.
  void row_start(std::int64_t row, std::int64_t& offset_a, std::int64_t& offset_b) const {
    offset_a = offset_b = 0;
    for (int i = rank - 2; i >= 0; --i) {
      const auto axis = static_cast<std::size_t>(i);
      const std::int64_t index = row % size[axis];
      row /= size[axis];
      offset_a += index * stride_a[axis];
      offset_b += index * stride_b[axis];
    }
  }

 private:
  using Axes = std::array<std::int64_t, Shape::kMaxRank>;

  Broadcast() = default;
  static std::int64_t& at(Axes& axes, int i) { return axes[static_cast<std::size_t>(i)]; }
  // Whether an axis with stride `outer` continues the last one: one step spans all of it, or both strides are 0.
  bool follows(std::int64_t outer, const Axes& stride, const Axes& sizes) const {
    const auto last = static_cast<std::size_t>(rank - 1);
    return outer == stride[last] * sizes[last];
  }
};

// The axes of x for a sum to y, which broadcasts to x. Adjacent axes that are both kept or both summed form one axis.
struct SumAxes {
  int rank = 0;
  std::array<std::int64_t, Shape::kMaxRank> size{};
  std::array<bool, Shape::kMaxRank> summed{};

  SumAxes(const Shape& x, const Shape& y) {
    for (int i = 0; i < x.rank(); ++i) {
      const int j = i - (x.rank() - y.rank());
      if (x[i] != 1) add(x[i], j < 0 || y[j] == 1);
    }
  }

  int to_sum() const {
    int count = 0;
    for (int i = 0; i < rank; ++i) count += summed[at(i)] ? 1 : 0;
    return count;
  }
  int largest_summed() const {
    int largest = -1;
    for (int i = 0; i < rank; ++i) {
      if (summed[at(i)] && (largest < 0 || size[at(i)] > size[at(largest)])) largest = i;
    }
    return largest;
  }
  std::int64_t product(int first, int last) const {
    std::int64_t all = 1;
    for (int i = first; i < last; ++i) all *= size[at(i)];
    return all;
  }
  SumAxes without(int axis) const {
    SumAxes rest;
    for (int i = 0; i < rank; ++i) {
      if (i != axis) rest.add(size[at(i)], summed[at(i)]);
    }
    return rest;
  }

 private:
  SumAxes() = default;
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  void add(std::int64_t n, bool sum) {
    if (rank > 0 && summed[at(rank - 1)] == sum) {
      size[at(rank - 1)] *= n;
    } else {
      size[at(rank)] = n;
      summed[at(rank++)] = sum;
    }
  }
};

}  // namespace descent
