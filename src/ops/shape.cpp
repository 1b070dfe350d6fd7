// Reshape, slice, concat and conversions. Reshapes and slices along the first axis share elements; others copy.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

Shape infer(const Shape& from, std::span<const std::int64_t> dims) {
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  if (dims.size() > sizes.size()) return Shape(dims);  // throws
  std::int64_t known = 1;
  std::ptrdiff_t open = -1;
  const auto fail = [&] {
    throw InvalidArgument(fmt::format("reshape: {} can't become [{}]", to_string(from), fmt::join(dims, ", ")));
  };
  for (std::size_t i = 0; i < dims.size(); ++i) {
    sizes[i] = dims[i];
    if (dims[i] == -1 && open < 0) {
      open = static_cast<std::ptrdiff_t>(i);
    } else if (dims[i] < 0 || __builtin_mul_overflow(known, dims[i], &known)) {
      fail();
    }
  }
  if (open >= 0) {
    if (known == 0 || from.numel() % known != 0) fail();
    sizes[static_cast<std::size_t>(open)] = from.numel() / known;
  } else if (known != from.numel()) {
    fail();
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), dims.size()));
}

// x as [outer, size of the axis * inner]
struct Blocks {
  std::int64_t outer, inner;
};

Blocks blocks_of(const Shape& shape, int axis) {
  return {shape.product(0, axis), shape.product(axis + 1, shape.rank())};
}

// The address `offset` elements after the start of a view.
void* skip(const void* data, std::int64_t offset, DType dtype) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(data)) +
         static_cast<std::size_t>(offset) * size_of(dtype);
}

void check_range(const char* op, const Shape& shape, int axis, std::int64_t begin, std::int64_t end) {
  if (begin >= 0 && begin <= end && end <= shape[axis]) return;
  throw InvalidArgument(fmt::format("{}: {} to {} of axis {} of shape {}", op, begin, end, axis, to_string(shape)));
}

// Writes dy into columns [offset, offset + width) of a gradient with rows of `pitch` elements, and 0 elsewhere.
void give_block(Gradients& g, std::int64_t rows, std::int64_t pitch, std::int64_t offset, std::int64_t width) {
  Grad dx = g.input_grad(0);
  if (dx.write == Write::overwrite) g.backend().elementwise->fill(dx.view, 0);
  const View place{skip(dx.view.data, offset, dx.view.dtype), {rows, width}, dx.view.dtype};
  g.backend().indexing->copy_block(g.dy({rows, width}), width, place, pitch, rows, width, dx.write);
}

}  // namespace

Tensor Tensor::reshape(std::span<const std::int64_t> dims) const {
  check_defined("reshape", "input", *this);
  Tensor y = share(*this, 0, infer(shape(), dims));
  if (recording(*this)) record("reshape", {this}, y, [](Gradients& g) { g.forward_grad(0); });
  return y;
}

Tensor Tensor::reshape(std::initializer_list<std::int64_t> dims) const {
  return reshape(std::span<const std::int64_t>(dims.begin(), dims.size()));
}

Tensor Tensor::narrow(int axis, std::int64_t start, std::int64_t length) const {
  check_defined("narrow", "input", *this);
  axis = shape().axis(axis, "narrow");
  if (start < 0 || length < 0 || start > shape()[axis] - length) {
    throw InvalidArgument(fmt::format("narrow: start {} and length {} on axis {} of shape {}", start, length, axis,
                                      descent::to_string(shape())));
  }
  return slice(*this, axis, start, start + length);
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  Tensor y = Tensor::empty(shape(), dtype(), target);
  y.copy_from(*this);
  if (recording(*this)) {
    record("to", {this}, y, [source = device()](Gradients& g) {
      const Grad dx = g.input_grad(0);
      const Tensor moved = g.dy_tensor().to(source);
      backend_of(moved).elementwise->axpby(1, cview(moved), beta_of(dx.write), dx.view);
    });
  }
  return y;
}

Tensor Tensor::to(DType type) const {
  if (dtype() == type) return *this;
  Tensor y = converted(*this, type);
  if (is_floating(type) && recording(*this)) {
    record("to", {this}, y, [](Gradients& g) {
      const Grad dx = g.input_grad(0);
      if (dx.write == Write::overwrite) return g.backend().elementwise->convert(g.dy(), dx.view);
      const Tensor sum = Tensor::empty(dx.view.shape, dx.view.dtype, g.backend().device);
      g.backend().elementwise->convert(g.dy(), view(sum));
      g.backend().elementwise->axpby(1, cview(sum), 1, dx.view);
    });
  }
  return y;
}

Tensor reshape(const Tensor& x, std::span<const std::int64_t> dims) { return x.reshape(dims); }

Tensor flatten(const Tensor& x, int start_axis) {
  check_defined("flatten", "input", x);
  const Shape& shape = x.shape();
  if (shape.rank() <= 1 && start_axis == shape.rank()) return x.reshape({shape.numel()});
  const int start = shape.axis(start_axis, "flatten");
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < start; ++i) dims[static_cast<std::size_t>(i)] = shape[i];
  dims[static_cast<std::size_t>(start)] = shape.product(start, shape.rank());
  return x.reshape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(start) + 1));
}

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end) {
  check_defined("slice", "input", x);
  const Shape& shape = x.shape();
  axis = shape.axis(axis, "slice");
  check_range("slice", shape, axis, begin, end);
  const auto [outer, inner] = blocks_of(shape, axis);
  const std::int64_t pitch = shape[axis] * inner;
  const std::int64_t width = (end - begin) * inner;
  const std::int64_t offset = begin * inner;
  Tensor y;
  if (outer == 1) {
    y = share(x, static_cast<std::size_t>(offset) * size_of(x.dtype()), shape.with(axis, end - begin));
  } else {
    y = empty_of(shape.with(axis, end - begin), x);
    const ConstView from{skip(cview(x).data, offset, x.dtype()), {outer, width}, x.dtype()};
    backend_of(x).indexing->copy_block(from, pitch, view(y), width, outer, width, Write::overwrite);
  }
  if (recording(x)) {
    record("slice", {&x}, y,
           [rows = outer, pitch, offset, width](Gradients& g) { give_block(g, rows, pitch, offset, width); });
  }
  return y;
}

Tensor concat(const std::vector<Tensor>& parts, int axis) {
  if (parts.empty()) throw InvalidArgument("concat: no tensors");
  const Tensor& first = parts.front();
  if (!first.defined()) throw InvalidArgument("concat: part 0 is undefined");
  const Shape& shape = first.shape();
  axis = shape.axis(axis, "concat");
  std::int64_t total = 0;
  bool needed = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor& part = parts[i];
    check_like("concat", "a part", part, first);
    if (part.rank() != shape.rank() || part.shape().with(axis, shape[axis]) != shape) {
      throw InvalidArgument(fmt::format("concat: part {} has shape {}, expected {} but for axis {}", i,
                                        to_string(part.shape()), to_string(shape), axis));
    }
    total += part.shape()[axis];
    needed = needed || recording(part);
  }
  const auto [outer, inner] = blocks_of(shape, axis);
  const std::int64_t pitch = total * inner;
  Tensor y = empty_of(shape.with(axis, total), first);
  std::vector<const Tensor*> inputs;
  std::vector<std::int64_t> widths;
  std::int64_t offset = 0;
  for (const Tensor& part : parts) {
    inputs.push_back(&part);
    widths.push_back(part.shape()[axis] * inner);
    const View place{skip(view(y).data, offset, y.dtype()), {outer, widths.back()}, y.dtype()};
    backend_of(y).indexing->copy_block(cview(part), widths.back(), place, pitch, outer, widths.back(),
                                       Write::overwrite);
    offset += widths.back();
  }
  if (needed) {
    record("concat", inputs, y, [rows = outer, pitch, widths = std::move(widths)](Gradients& g) {
      std::int64_t start = 0;
      for (std::size_t i = 0; i < widths.size(); ++i) {
        if (const Grad dx = g.input_grad(i, {rows, widths[i]})) {
          const ConstView dy = g.dy();
          const ConstView from{skip(dy.data, start, dy.dtype), {rows, widths[i]}, dy.dtype};
          g.backend().indexing->copy_block(from, pitch, dx.view, widths[i], rows, widths[i], dx.write);
        }
        start += widths[i];
      }
    });
  }
  return y;
}

}  // namespace descent
