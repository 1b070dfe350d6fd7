// Converts channels-last memory to PyTorch's order in files, and back. Every layout that differs is one transposition
// of the two inner axes of [outer, a, b], which swaps the spatial positions, flattened to one axis, and the channels.
#include <fmt/format.h>

#include <cstring>

#include "descent/error.h"
#include "descent/io.h"
#include "descent/module.h"
#include "io/raw_bytes.h"

namespace descent::io {
namespace {

using nn::FileLayout;

// out[o, j, i] = in[o, i, j] for elements of Size bytes.
template <std::size_t Size>
void transpose(const std::byte* in, std::byte* out, std::int64_t outer, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t from = (o * rows + i) * columns + j;
        const std::int64_t to = (o * columns + j) * rows + i;
        std::memcpy(out + to * static_cast<std::int64_t>(Size), in + from * static_cast<std::int64_t>(Size), Size);
      }
    }
  }
}

Tensor transpose_inner(const Tensor& tensor, std::int64_t rows, std::int64_t columns, const Shape& shape) {
  const Tensor host = tensor.to(Device::cpu());
  Tensor result = Tensor::empty(shape, tensor.dtype());
  const std::byte* in = raw_bytes(host).data();
  std::byte* out = raw_bytes(result).data();
  const std::int64_t outer = rows * columns == 0 ? 0 : tensor.numel() / (rows * columns);
  switch (size_of(tensor.dtype())) {
    case 1:
      transpose<1>(in, out, outer, rows, columns);
      break;
    case 2:
      transpose<2>(in, out, outer, rows, columns);
      break;
    case 4:
      transpose<4>(in, out, outer, rows, columns);
      break;
    default:
      transpose<8>(in, out, outer, rows, columns);
      break;
  }
  return result;
}

void check_filter(const Shape& shape, const char* op) {
  if (shape.rank() != 4) {
    throw InvalidArgument(fmt::format("{}: a filter of shape {}, expected rank 4", op, to_string(shape)));
  }
}

void check_flattened(const Shape& shape, const FileLayout& layout, const char* op) {
  const bool known = layout.height > 0 && layout.width > 0 && layout.channels > 0;
  if (!known || shape.rank() < 1 || shape[-1] != layout.height * layout.width * layout.channels) {
    throw InvalidArgument(fmt::format("{}: shape {} does not end with features of an image [{}, {}, {}]", op,
                                      to_string(shape), layout.height, layout.width, layout.channels));
  }
}

bool is_filter(const FileLayout& layout) {
  return layout.kind == FileLayout::Kind::conv_filter || layout.kind == FileLayout::Kind::conv_transpose_filter;
}

}  // namespace

Tensor to_file_layout(const Tensor& tensor, const FileLayout& layout) {
  if (layout.kind == FileLayout::Kind::as_is) return tensor.to(Device::cpu());
  const Shape& s = tensor.shape();
  if (is_filter(layout)) {
    check_filter(s, "to_file_layout");
    return transpose_inner(tensor, s[1] * s[2], s[3], {s[0], s[3], s[1], s[2]});
  }
  check_flattened(s, layout, "to_file_layout");
  return transpose_inner(tensor, layout.height * layout.width, layout.channels, s);
}

Tensor from_file_layout(const Tensor& tensor, const FileLayout& layout) {
  if (layout.kind == FileLayout::Kind::as_is) return tensor.to(Device::cpu());
  const Shape& s = tensor.shape();
  if (is_filter(layout)) {
    check_filter(s, "from_file_layout");
    return transpose_inner(tensor, s[1], s[2] * s[3], {s[0], s[2], s[3], s[1]});
  }
  check_flattened(s, layout, "from_file_layout");
  return transpose_inner(tensor, layout.channels, layout.height * layout.width, s);
}

}  // namespace descent::io
