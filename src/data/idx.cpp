// The IDX format of MNIST (Y. LeCun's page): two zero bytes, a type code, the rank, big-endian dimensions, big-endian
// data. All its types are supported; MNIST and EMNIST use u8, QMNIST's labels are i32. Nothing is allocated before the
// size that the header declares has been checked against the bytes available.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "data/gzip.h"
#include "descent/data.h"
#include "descent/error.h"
#include "descent/io.h"
#include "io/checked_size.h"
#include "io/raw_bytes.h"

namespace descent::data {
namespace {

struct IdxType {
  std::uint8_t code;
  std::string_view name;
  std::uint64_t bytes;  // of one element in the file
  DType dtype;          // in memory
};
constexpr std::array<IdxType, 6> kIdxTypes = {{{0x08, "u8", 1, DType::u8},
                                               {0x09, "i8", 1, DType::i32},
                                               {0x0B, "i16", 2, DType::i32},
                                               {0x0C, "i32", 4, DType::i32},
                                               {0x0D, "f32", 4, DType::f32},
                                               {0x0E, "f64", 8, DType::f64}}};
// i8 and i16 are widened to i32: this limit keeps them within twice the file size plus 64 MiB.
constexpr std::uint64_t kMaxWidened = std::uint64_t{1} << 24U;
constexpr int kMaxRank = 4;
constexpr std::size_t kMaxHeader = 4 + 4 * kMaxRank;

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw FormatError(fmt::format("{}: IDX: {}", escape_path(source, 200), what));
}

const IdxType& type_of(std::uint8_t code, const std::string& source) {
  const auto* found =
      std::find_if(kIdxTypes.begin(), kIdxTypes.end(), [&](const IdxType& type) { return type.code == code; });
  if (found == kIdxTypes.end()) {
    fail(source, fmt::format("byte 2: type 0x{:02x}, expected 0x08 (u8), or 0x09 and 0x0b to 0x0e", code));
  }
  return *found;
}

int check_magic(std::span<const std::byte> magic, const std::string& source) {
  if (magic.size() < 4) fail(source, fmt::format("ends at byte {} inside the magic number (4 bytes)", magic.size()));
  const int rank = std::to_integer<int>(magic[3]);
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0}) {
    fail(source, fmt::format("byte 0: magic number begins 0x{:02x} 0x{:02x}, expected 0x00 0x00",
                             std::to_integer<int>(magic[0]), std::to_integer<int>(magic[1])));
  }
  type_of(std::to_integer<std::uint8_t>(magic[2]), source);
  if (rank < 1 || rank > kMaxRank) fail(source, fmt::format("byte 3: rank {}, expected 1 to {}", rank, kMaxRank));
  return rank;
}

struct Header {
  const IdxType* type = nullptr;
  Shape shape;
  std::uint64_t bytes = 0;    // of the header itself
  std::uint64_t payload = 0;  // of the elements
};

// `bytes` contains the header, or the whole file if that is shorter.
Header parse_header(std::span<const std::byte> bytes, const std::string& source) {
  const int rank = check_magic(bytes.first(std::min<std::size_t>(bytes.size(), 4)), source);
  Header header;
  header.type = &type_of(std::to_integer<std::uint8_t>(bytes[2]), source);
  header.bytes = 4 + 4 * static_cast<std::uint64_t>(rank);
  if (bytes.size() < header.bytes) {
    fail(source, fmt::format("ends at byte {} inside the header ({} bytes)", bytes.size(), header.bytes));
  }
  std::array<std::int64_t, kMaxRank> dims{};
  io::CheckedSize nonzero(1);
  bool empty = false;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(rank); ++axis) {
    std::uint32_t dim = 0;
    for (std::size_t i = 0; i < 4; ++i) dim = (dim << 8U) | std::to_integer<std::uint32_t>(bytes[4 + 4 * axis + i]);
    dims[axis] = dim;
    empty = empty || dim == 0;
    if (dim != 0) nonzero = nonzero * dim;
  }
  // Like Shape's check, for the largest element type: no size in bytes can overflow.
  if (!(nonzero * 8).within((std::uint64_t{1} << 63U) - 1))
    fail(source, "byte 4: the product of the dimensions overflows");
  header.shape = Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank)));
  header.payload = empty ? 0 : nonzero.value() * header.type->bytes;
  if (size_of(header.type->dtype) > header.type->bytes && !empty && nonzero.value() > kMaxWidened) {
    fail(source, fmt::format("{} of shape {}: expected at most {} elements of this type", header.type->name,
                             to_string(header.shape), kMaxWidened));
  }
  return header;
}

// Converts big-endian elements of the file to elements of the tensor, starting at its element `first`.
void convert(std::span<const std::byte> bytes, const IdxType& type, Tensor& tensor, std::size_t first) {
  for (std::size_t i = 0; i < bytes.size() / type.bytes; ++i) {
    std::uint64_t bits = 0;
    for (std::size_t k = 0; k < type.bytes; ++k) {
      bits = (bits << 8U) | std::to_integer<std::uint64_t>(bytes[i * type.bytes + k]);
    }
    if (type.dtype == DType::f64) {
      tensor.data<double>()[first + i] = std::bit_cast<double>(bits);
    } else if (type.dtype == DType::f32) {
      tensor.data<float>()[first + i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    } else {  // sign-extended from the element's own width
      const std::uint64_t shift = 64 - 8 * type.bytes;
      tensor.data<std::int32_t>()[first + i] =
          static_cast<std::int32_t>(std::bit_cast<std::int64_t>(bits << shift) >> shift);
    }
  }
}

// Reads the elements with `read`, which fills a buffer as far as it can; returns the number of bytes read.
template <class Read>
std::uint64_t fill_elements(Tensor& tensor, const Header& header, Read&& read) {
  if (header.type->dtype == DType::u8) {
    return read(std::as_writable_bytes(std::span(tensor.data<std::uint8_t>(), header.payload)));
  }
  std::array<std::byte, 32768> piece{};
  std::uint64_t done = 0;
  while (done < header.payload) {
    const auto wanted = std::span(piece).first(std::min<std::uint64_t>(piece.size(), header.payload - done));
    const std::uint64_t got = read(wanted);
    if (got < wanted.size()) return done + got;
    convert(wanted, *header.type, tensor, done / header.type->bytes);
    done += got;
  }
  return done;
}

Tensor decode_plain(std::span<const std::byte> bytes, const std::string& source) {
  const Header header = parse_header(bytes.first(std::min(bytes.size(), kMaxHeader)), source);
  const std::uint64_t expected = header.bytes + header.payload;
  if (bytes.size() < expected) {
    fail(source,
         fmt::format("ends at byte {}, expected {} for shape {}", bytes.size(), expected, to_string(header.shape)));
  }
  if (bytes.size() > expected) {
    fail(source, fmt::format("{} bytes follow byte {}, the end of the data of shape {}", bytes.size() - expected,
                             expected, to_string(header.shape)));
  }
  Tensor tensor = Tensor::empty(header.shape, header.type->dtype);
  auto rest = bytes.subspan(header.bytes);
  fill_elements(tensor, header, [&](std::span<std::byte> out) {
    std::copy_n(rest.begin(), out.size(), out.begin());
    rest = rest.subspan(out.size());
    return out.size();
  });
  return tensor;
}

Tensor decode_compressed(std::span<const std::byte> bytes, const std::string& source) {
  GzipReader reader(bytes, source);
  std::array<std::byte, kMaxHeader> head{};
  std::size_t got = reader.read(std::span(head).first(4));
  const int rank = check_magic(std::span(head).first(got), source);
  got += reader.read(std::span(head).subspan(4, 4 * static_cast<std::size_t>(rank)));
  const Header header = parse_header(std::span(head).first(got), source);
  if (header.payload / GzipReader::kMaxRatio > bytes.size()) {
    fail(source, fmt::format("shape {} needs {} bytes, which {} compressed bytes can't hold", to_string(header.shape),
                             header.payload, bytes.size()));
  }
  Tensor tensor = Tensor::empty(header.shape, header.type->dtype);
  const std::uint64_t filled =
      fill_elements(tensor, header, [&](std::span<std::byte> out) { return reader.read(out); });
  if (filled != header.payload) {
    fail(source, fmt::format("ends at uncompressed byte {}, expected {} for shape {}", header.bytes + filled,
                             header.bytes + header.payload, to_string(header.shape)));
  }
  reader.expect_end(header.bytes + header.payload);
  return tensor;
}

}  // namespace

Tensor decode_idx(std::span<const std::byte> bytes, const std::string& source) {
  return GzipReader::looks_like_gzip(bytes) ? decode_compressed(bytes, source) : decode_plain(bytes, source);
}

Tensor read_idx(const std::string& path) { return decode_idx(io::read_file(path), path); }

std::vector<std::byte> encode_idx(const Tensor& tensor) {
  const auto* type = std::find_if(kIdxTypes.begin(), kIdxTypes.end(), [&](const IdxType& candidate) {
    return candidate.dtype == tensor.dtype() && candidate.bytes == size_of(candidate.dtype);
  });
  if (type == kIdxTypes.end() || tensor.rank() < 1 || tensor.rank() > kMaxRank) {
    throw InvalidArgument(fmt::format("encode_idx: {} {}, expected u8, i32, f32 or f64 of rank 1 to {}",
                                      to_string(tensor.dtype()), to_string(tensor.shape()), kMaxRank));
  }
  std::vector<std::byte> bytes = {std::byte{0}, std::byte{0}, static_cast<std::byte>(type->code),
                                  static_cast<std::byte>(tensor.rank())};
  for (const std::int64_t dim : tensor.shape()) {
    if (dim > 0xFFFFFFFFLL) throw InvalidArgument(fmt::format("encode_idx: dimension {} needs more than 32 bits", dim));
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::byte>((dim >> shift) & 0xFF));
  }
  const Tensor host = tensor.to(Device::cpu());
  const auto elements = io::raw_bytes(host);
  const std::size_t header = bytes.size();
  bytes.insert(bytes.end(), elements.begin(), elements.end());
  for (std::size_t at = header; at < bytes.size(); at += type->bytes) {
    const auto element = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    std::reverse(element, element + static_cast<std::ptrdiff_t>(type->bytes));
  }
  return bytes;
}

}  // namespace descent::data
