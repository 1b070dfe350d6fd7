// Shape. The product of the nonzero dimensions is bounded even in an empty shape, so that no size in bytes overflows.
#include "descent/shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "descent/error.h"

namespace descent {
namespace {

// The largest element type has 8 bytes.
constexpr std::int64_t kMaxElements = std::numeric_limits<std::int64_t>::max() / 8;

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > static_cast<std::size_t>(kMaxRank)) {
    throw InvalidArgument(fmt::format("shape: {} dimensions, at most {} are supported", dims.size(), kMaxRank));
  }
  rank_ = static_cast<int>(dims.size());
  std::int64_t nonzero = 1;
  bool empty = false;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const std::int64_t size = dims[i];
    if (size < 0) throw InvalidArgument(fmt::format("shape: dimension {} is {}, expected 0 or more", i, size));
    if (size > 0 && nonzero > kMaxElements / size) {
      throw InvalidArgument(fmt::format("shape: [{}] has too many elements", fmt::join(dims, ", ")));
    }
    if (size > 0) nonzero *= size;
    empty = empty || size == 0;
    dims_[i] = size;
  }
  numel_ = empty ? 0 : nonzero;
}

int Shape::axis(int axis, const char* op) const {
  if (axis < -rank_ || axis >= rank_) {
    throw InvalidArgument(fmt::format("{}: axis {} is out of range for shape {}", op, axis, to_string(*this)));
  }
  return axis < 0 ? axis + rank_ : axis;
}

Shape Shape::with(int axis, std::int64_t size) const {
  std::array<std::int64_t, kMaxRank> dims = dims_;
  dims[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)] = size;
  return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank_)));
}

std::int64_t Shape::product(int first, int last) const {
  std::int64_t product = 1;
  for (int i = first; i < last; ++i) product *= dims_[static_cast<std::size_t>(i)];
  return product;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.dims(), ", ")); }

Shape broadcast(const Shape& a, const Shape& b, const char* op) {
  if (a == b) return a;
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < rank; ++i) {
    const int of_a = i - (rank - a.rank());
    const int of_b = i - (rank - b.rank());
    const std::int64_t x = of_a < 0 ? 1 : a[of_a];
    const std::int64_t y = of_b < 0 ? 1 : b[of_b];
    if (x != y && x != 1 && y != 1) {
      throw InvalidArgument(fmt::format("{}: shapes {} and {} don't broadcast: dimension {} is {} and {}", op,
                                        to_string(a), to_string(b), i, x, y));
    }
    dims[static_cast<std::size_t>(i)] = x == 1 ? y : x;
  }
  return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank)));
}

}  // namespace descent
