// Tensors as text: shape, element type, device, and the elements, with the middle of long axes left out.
#include <fmt/format.h>

#include <iterator>

#include "core/tensor_impl.h"

namespace descent {
namespace {

constexpr std::int64_t kLongest = 8;  // an axis of up to this length is printed whole
constexpr std::int64_t kEdge = 3;     // of a longer axis, this many elements at each end

struct Printer {
  const std::vector<double>& values;
  const Shape& shape;
  std::string& out;

  void print(int axis, std::int64_t offset) {
    if (axis == shape.rank()) {
      fmt::format_to(std::back_inserter(out), "{:.6g}", values[static_cast<std::size_t>(offset)]);
      return;
    }
    const std::int64_t size = shape[axis];
    const std::int64_t stride = shape.product(axis + 1, shape.rank());
    const bool innermost = axis + 1 == shape.rank();
    const std::string separator = innermost ? ", " : ",\n" + std::string(static_cast<std::size_t>(axis) + 1, ' ');
    out += '[';
    for (std::int64_t i = 0; i < size; ++i) {
      if (i > 0) out += separator;
      if (size > kLongest && i == kEdge) {
        out += "...";
        i = size - kEdge - 1;
        continue;
      }
      print(axis + 1, offset + i * stride);
    }
    out += ']';
  }
};

}  // namespace

std::string Tensor::to_string() const {
  if (!defined()) return "tensor undefined";
  std::string out = fmt::format("tensor {} {} {}\n", descent::to_string(shape()), descent::to_string(dtype()),
                                descent::to_string(device()));
  const std::vector<double> values = to_vector<double>();
  Printer{values, shape(), out}.print(0, 0);
  return out;
}

}  // namespace descent
