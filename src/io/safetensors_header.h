// The header of a safetensors file: 8 bytes of little-endian length, then JSON. Parsed and checked here against the
// number of bytes that the file really has, before anything is allocated for its tensors.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "descent/dtype.h"
#include "descent/shape.h"

namespace descent::io {

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr std::size_t kMaxTensors = 65'536;
inline constexpr std::size_t kMaxNameBytes = 1'024;

// How elements lie in the file. I64 becomes i32 in memory.
struct FileType {
  std::string_view name;
  DType dtype;
  std::uint64_t bytes;
};
const FileType* find_file_type(std::string_view name);  // null for a type that we don't read
const FileType& file_type_of(DType dtype, bool as_i64);

struct HeaderEntry {
  std::string name;
  std::string type;
  std::vector<std::uint64_t> dims = {};
  std::uint64_t begin = 0;  // of the tensor's bytes, counted from the end of the header
  std::uint64_t end = 0;

  Shape shape() const;
};

struct Header {
  std::vector<HeaderEntry> entries;  // in the header's order; types known, sizes right, data tiled without holes
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // of the first tensor's bytes in the file
};

// The length of the JSON, from the first 8 bytes of a file of `file_bytes`.
std::uint64_t header_length(std::span<const std::byte> first, std::uint64_t file_bytes, const std::string& source);
Header parse_header(std::string_view json, std::uint64_t file_bytes, const std::string& source);

// CRC32C over everything that the header says, but for the key "crc32c" itself.
std::uint32_t header_checksum(const Header& header);

}  // namespace descent::io
