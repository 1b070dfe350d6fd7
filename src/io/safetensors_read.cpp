// Reads safetensors files tensor by tensor: in addition to the tensors, memory never holds more than the header and a
// piece of one tensor.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>

#include "descent/error.h"
#include "descent/io.h"
#include "io/half.h"
#include "io/input_file.h"
#include "io/raw_bytes.h"
#include "io/safetensors_checksum.h"
#include "io/safetensors_header.h"
#include "io/safetensors_read.h"

namespace descent::io {
namespace {

using ReadAt = std::function<void(std::uint64_t offset, std::span<std::byte> out)>;

template <class Unsigned>
Unsigned little_endian(const std::byte* bytes) {
  Unsigned value = 0;
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
    value = static_cast<Unsigned>(value | (std::to_integer<Unsigned>(bytes[i]) << (8 * i)));
  }
  return value;
}

struct ReadTensor {
  Tensor tensor;
  std::uint32_t crc = 0;  // of the bytes in the file
  std::string problem;    // with a value; reported only after any checksum has been verified
};

// Converts whole elements; `first` is the index of the first one.
void convert_i64(std::span<const std::byte> bytes, std::size_t first, ReadTensor& result) {
  std::int32_t* out = result.tensor.data<std::int32_t>() + first;
  for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
    const auto value = std::bit_cast<std::int64_t>(little_endian<std::uint64_t>(bytes.data() + 8 * i));
    out[i] = static_cast<std::int32_t>(value);
    if (out[i] != value && result.problem.empty()) {
      result.problem = fmt::format("element {} is {}, which an i32 can't hold", first + i, value);
    }
  }
}

void convert_f16(std::span<const std::byte> bytes, float* out) {
  for (std::size_t i = 0; i < bytes.size() / 2; ++i) {
    out[i] = half_to_float(little_endian<std::uint16_t>(bytes.data() + 2 * i));
  }
}

// Reads one tensor, and converts it if its type in the file is I64 or F16.
ReadTensor read_tensor(const HeaderEntry& entry, std::uint64_t at, const ReadAt& read_at) {
  const FileType& type = *find_file_type(entry.type);
  ReadTensor result;
  result.tensor = Tensor::empty(entry.shape(), *type.dtype);
  if (!type.converted()) {
    const std::span<std::byte> bytes = raw_bytes(result.tensor);
    read_at(at, bytes);
    result.crc = crc32c(bytes);
    return result;
  }
  std::array<std::byte, 32768> piece{};
  const std::uint64_t count = entry.end - entry.begin;
  for (std::uint64_t done = 0; done < count; done += piece.size()) {
    const auto bytes = std::span(piece).first(std::min<std::uint64_t>(piece.size(), count - done));
    read_at(at + done, bytes);
    result.crc = crc32c(bytes, result.crc);
    const std::size_t first = done * 8 / type.bits;
    if (result.tensor.dtype() == DType::i32) {
      convert_i64(bytes, first, result);
    } else {
      convert_f16(bytes, result.tensor.data<float>() + first);
    }
  }
  return result;
}

void verify_tensor(std::uint32_t crc, const HeaderEntry& entry, const Header& header, const std::string& source) {
  const auto stored = header.metadata.find(checksum_key(entry.name));
  const std::string found = checksum_text(crc);
  if (stored != header.metadata.end() && stored->second == found) return;
  throw FormatError(fmt::format("{}: tensor \"{}\" is damaged: CRC32C {} in the header, {} of the data",
                                escape_path(source, 200), escape(entry.name),
                                stored == header.metadata.end() ? "missing" : escape(stored->second, 20), found));
}

void remove_checksums(std::map<std::string, std::string>& metadata) {
  std::erase_if(metadata, [](const auto& item) { return is_checksum_key(item.first); });
}

std::string read_header_text(const ReadAt& read_at, std::uint64_t file_bytes, const std::string& source) {
  std::vector<std::byte> first(std::min<std::uint64_t>(file_bytes, 8));
  read_at(0, first);
  std::string text(header_length(first, file_bytes, source), ' ');
  read_at(8, std::as_writable_bytes(std::span(text)));
  return text;
}

// Which checksums to verify: only those of files with our marks, or all.
enum class Verify { marked, always };

TensorFile read_tensors(const ReadAt& read_at, std::uint64_t file_bytes, const std::string& source,
                        Verify verify = Verify::marked) {
  const std::string text = read_header_text(read_at, file_bytes, source);
  Header header = parse_header(text, file_bytes, source, kLoadLimits);
  const bool marked = has_our_marks(text);
  const bool ours = marked || (verify == Verify::always && has_checksums(header));
  if (marked) {
    verify_header(text, source);
  } else if (ours) {
    verify_unmarked_header(header, source);
  }
  TensorFile file;
  for (const HeaderEntry& entry : header.entries) {
    ReadTensor read = read_tensor(entry, header.data_offset + entry.begin, read_at);
    if (ours) verify_tensor(read.crc, entry, header, source);
    if (!read.problem.empty()) {
      throw FormatError(
          fmt::format("{}: tensor \"{}\": {}", escape_path(source, 200), escape(entry.name), read.problem));
    }
    file.tensors.emplace_back(entry.name, std::move(read.tensor));
  }
  remove_checksums(header.metadata);
  file.metadata = std::move(header.metadata);
  return file;
}

ReadAt reader_of(const InputFile& file) {
  return [&file](std::uint64_t offset, std::span<std::byte> out) { file.read_at(offset, out); };
}

}  // namespace

TensorFile decode_tensors(std::span<const std::byte> bytes, const std::string& source) {
  const auto read_at = [&](std::uint64_t offset, std::span<std::byte> out) {
    if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
  };
  return read_tensors(read_at, bytes.size(), source);
}

TensorFile load_tensors(const std::string& path) {
  const InputFile file(path);
  return read_tensors(reader_of(file), file.size(), path);
}

TensorFile load_checkpoint(const std::string& path) {
  const InputFile file(path);
  return read_tensors(reader_of(file), file.size(), path, Verify::always);
}

TensorFileInfo inspect_tensors(const std::string& path) {
  const InputFile file(path);
  Header header = parse_header(read_header_text(reader_of(file), file.size(), path), file.size(), path, kListLimits);
  TensorFileInfo info;
  info.file_bytes = file.size();
  info.tensors.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    info.tensors.push_back({std::move(entry.name),
                            std::move(entry.type),
                            {entry.dims.begin(), entry.dims.end()},
                            entry.end - entry.begin});
    entry = {};  // so that shapes are not in memory twice
  }
  remove_checksums(header.metadata);
  info.metadata = std::move(header.metadata);
  return info;
}

}  // namespace descent::io
