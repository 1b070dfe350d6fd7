// The op group reduce.
#pragma once

#include <cstdint>

#include "backend/view.h"

namespace descent {

enum class ReduceOp : std::uint8_t { sum, mean, max };

class Reduce {
 public:
  virtual ~Reduce() = default;
  // Reduces x, seen as [outer, n, inner], to y [outer, inner]; the max over n == 0 is -inf, and NaN wins. Sums are
  // pairwise, compensated or in f64. For bf16 x, y is bf16 or f32; likewise for sum_to.
  virtual void reduce(ReduceOp op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) = 0;
  // The gradient of max: dy goes to the first maximum of each group.
  virtual void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n,
                            std::int64_t inner, Grad dx) = 0;
  virtual void sum_to(ConstView x, Grad y) = 0;       // sums x over the axes along which y broadcasts to x
  virtual void argmax_rows(ConstView x, View y) = 0;  // [rows, n] -> i32 [rows]: the first maximum
  // The k largest of each row of x [rows, n], largest first: values [rows, k] of x's type and their indices, `places`
  // i32 [rows, k]. Equal ones in index order, NaN before everything; k at most n.
  virtual void top_k(ConstView x, View values, View indices) = 0;
  virtual void sum_of_squares(ConstView x, View y) = 0;  // -> f64 [1]
};

}  // namespace descent
