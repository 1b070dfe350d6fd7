// The header of a safetensors file: 8 bytes of little-endian length, then JSON. It is parsed and checked against the
// actual size of the file before anything is allocated for the tensors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// Element types in files: all those of the reference implementation (safetensors 0.8.0).
struct FileType {
  std::string_view name;
  std::uint64_t bits;                                             // of one element
  std::optional<DType> dtype = {};                                // the type in memory; none if it can only be listed
  bool converted() const { return bits != 8 * size_of(*dtype); }  // I64 and F16
};
const FileType* find_file_type(std::string_view name);  // null for an unknown type
const FileType& file_type_of(DType dtype, bool as_i64);

// Limits of a header. An entry takes several times its text in memory, so the number of entries is limited in addition
// to the header's length: parsing and listing a header of N bytes takes at most 2N + 64 MiB. The limits for listing
// admit everything that can be loaded, and some 250,000 tensors of the usual ranks.
struct HeaderLimits {
  std::size_t tensors, name_bytes, rank, string_bytes;
  std::size_t structure_bytes;  // memory of entries, dimensions and metadata fields without their text
  bool only_loadable;           // rejects types that have no DType; the error names them
};
inline constexpr std::size_t kMaxStringBytes = std::size_t{1} << 24;
inline constexpr std::size_t kMaxStructureBytes = std::size_t{1} << 26;
inline constexpr HeaderLimits kLoadLimits{kMaxTensors,     kMaxNameBytes,      Shape::kMaxRank,
                                          kMaxStringBytes, kMaxStructureBytes, true};
inline constexpr HeaderLimits kListLimits{kMaxHeaderBytes, std::size_t{1} << 16, 64,
                                          kMaxStringBytes, kMaxStructureBytes,   false};

struct HeaderEntry {
  std::string name;
  std::string type;
  std::vector<std::uint64_t> dims = {};
  std::uint64_t begin = 0;  // of the tensor's bytes, counted from the end of the header
  std::uint64_t end = 0;

  Shape shape() const;
};

struct Header {
  std::vector<HeaderEntry> entries;  // in the header's order; sizes checked, data contiguous
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // of the first tensor's bytes in the file
};

// The length of the JSON, from the first 8 bytes of a file of `file_bytes`.
std::uint64_t header_length(std::span<const std::byte> first, std::uint64_t file_bytes, const std::string& source);
Header parse_header(std::string_view json, std::uint64_t file_bytes, const std::string& source,
                    const HeaderLimits& limits);

}  // namespace descent::io
