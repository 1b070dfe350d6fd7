// Shape: the dimensions of a tensor, a small value class with at most eight of them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "descent/export.h"

namespace descent {

class DESCENT_API Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;  // rank 0: a scalar, one element
  Shape(std::initializer_list<std::int64_t> dims);
  // Throws InvalidArgument for a rank above 8 and for a negative or overflowing size.
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t numel() const { return numel_; }
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)]; }
  std::span<const std::int64_t> dims() const { return {dims_.data(), static_cast<std::size_t>(rank_)}; }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }

  // Converts a negative axis to a positive one; throws InvalidArgument, beginning with `op`, if it is out of range.
  int axis(int axis, const char* op) const;
  // The same shape with dimension `axis` replaced by `size`.
  Shape with(int axis, std::int64_t size) const;
  // The product of the dimensions from `first` up to but not including `last`.
  std::int64_t product(int first, int last) const;

  friend bool operator==(const Shape& a, const Shape& b) = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
  std::int64_t numel_ = 1;
};

DESCENT_API std::string to_string(const Shape& shape);  // "[128, 28, 28, 1]"

// The shape by NumPy's broadcasting rules; throws InvalidArgument, beginning with `op`, if the shapes don't fit.
DESCENT_API Shape broadcast(const Shape& a, const Shape& b, const char* op);

}  // namespace descent
