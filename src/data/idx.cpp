// The IDX format of MNIST (Y. LeCun's page): two zero bytes, a type code, the rank, big-endian dimensions, the data.
// Nothing is allocated before the header's promise has been compared with the bytes that there are.
#include <fmt/format.h>

#include <array>
#include <vector>

#include "data/gzip.h"
#include "descent/data.h"
#include "descent/error.h"
#include "descent/io.h"
#include "io/checked_size.h"

namespace descent::data {
namespace {

constexpr std::uint8_t kUnsignedByte = 0x08;
constexpr int kMaxRank = 4;
constexpr std::size_t kMaxHeader = 4 + 4 * kMaxRank;

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw FormatError(fmt::format("{}: IDX: {}", escape_path(source, 200), what));
}

std::string type_name(std::uint8_t code) {
  switch (code) {
    case 0x09:
      return "i8 (0x09)";
    case 0x0B:
      return "i16 (0x0b)";
    case 0x0C:
      return "i32 (0x0c)";
    case 0x0D:
      return "f32 (0x0d)";
    case 0x0E:
      return "f64 (0x0e)";
    default:
      return fmt::format("0x{:02x}, which is none of the format's", code);
  }
}

int check_magic(std::span<const std::byte> magic, const std::string& source) {
  if (magic.size() < 4) fail(source, fmt::format("ends at byte {} inside the magic number (4 bytes)", magic.size()));
  const auto type = std::to_integer<std::uint8_t>(magic[2]);
  const int rank = std::to_integer<int>(magic[3]);
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0}) {
    fail(source, fmt::format("byte 0: magic number begins 0x{:02x} 0x{:02x}, expected 0x00 0x00",
                             std::to_integer<int>(magic[0]), std::to_integer<int>(magic[1])));
  }
  if (type != kUnsignedByte) fail(source, "byte 2: type " + type_name(type) + ", expected u8 (0x08)");
  if (rank < 1 || rank > kMaxRank) fail(source, fmt::format("byte 3: rank {}, expected 1 to {}", rank, kMaxRank));
  return rank;
}

struct Header {
  Shape shape;
  std::uint64_t bytes = 0;    // of the header itself
  std::uint64_t payload = 0;  // of the elements
};

// `bytes` holds the header, or all there is of the file.
Header parse_header(std::span<const std::byte> bytes, const std::string& source) {
  const int rank = check_magic(bytes.first(std::min<std::size_t>(bytes.size(), 4)), source);
  Header header;
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
  // As Shape does, for the largest element type: no size in bytes can wrap around.
  if (!(nonzero * 8).within((std::uint64_t{1} << 63U) - 1))
    fail(source, "byte 4: the product of the dimensions overflows");
  header.shape = Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank)));
  header.payload = empty ? 0 : nonzero.value();
  return header;
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
  return Tensor::from_host(bytes.data() + header.bytes, header.shape, DType::u8);
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
  Tensor tensor = Tensor::empty(header.shape, DType::u8);
  const std::span<std::uint8_t> elements(tensor.data<std::uint8_t>(), header.payload);
  const std::size_t filled = reader.read(std::as_writable_bytes(elements));
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
  if (tensor.dtype() != DType::u8 || tensor.rank() < 1 || tensor.rank() > kMaxRank) {
    throw InvalidArgument(fmt::format("encode_idx: {} {}, expected u8 of rank 1 to {}", name_of(tensor.dtype()),
                                      to_string(tensor.shape()), kMaxRank));
  }
  std::vector<std::byte> bytes = {std::byte{0}, std::byte{0}, std::byte{kUnsignedByte},
                                  static_cast<std::byte>(tensor.rank())};
  for (const std::int64_t dim : tensor.shape()) {
    if (dim > 0xFFFFFFFFLL) throw InvalidArgument(fmt::format("encode_idx: dimension {} needs more than 32 bits", dim));
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::byte>((dim >> shift) & 0xFF));
  }
  const std::vector<std::uint8_t> elements = tensor.to_vector<std::uint8_t>();
  const auto raw = std::as_bytes(std::span(elements));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
  return bytes;
}

}  // namespace descent::data
