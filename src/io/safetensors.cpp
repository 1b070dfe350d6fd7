// safetensors files: whole files in memory, tensors out of them and into them.
// Data are laid out by falling element size, so that every tensor is aligned; the header keeps the caller's order.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "descent/error.h"
#include "descent/io.h"
#include "io/file_calls.h"
#include "io/input_file.h"
#include "io/raw_bytes.h"
#include "io/safetensors_header.h"

namespace descent::io {
namespace {

constexpr std::string_view kChecksumPrefix = "crc32c.";
constexpr std::string_view kHeaderChecksum = "crc32c";

bool is_checksum_key(std::string_view key) { return key == kHeaderChecksum || key.starts_with(kChecksumPrefix); }

std::string hex(std::uint32_t value) { return fmt::format("{:08x}", value); }

std::uint64_t little_endian(const std::byte* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// ---- writing ----

// One tensor's bytes as they go to the file; `owned` keeps what had to be copied.
struct Payload {
  Tensor host;
  std::vector<std::byte> owned;
  std::span<const std::byte> bytes;
};

Payload make_payload(const Tensor& tensor, const FileType& type) {
  Payload payload;
  payload.host = tensor.to(Device::cpu());
  payload.bytes = raw_bytes(payload.host);
  if (type.bytes == size_of(tensor.dtype())) return payload;
  const auto* values = payload.host.data<std::int32_t>();
  payload.owned.resize(static_cast<std::size_t>(tensor.numel()) * 8);
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    const std::int64_t wide = values[i];
    std::memcpy(payload.owned.data() + 8 * i, &wide, 8);
  }
  payload.bytes = payload.owned;
  return payload;
}

void check_names(const TensorFile& file, const SaveOptions& options) {
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : file.tensors) {
    const bool named = !name.empty() && name.size() <= kMaxNameBytes && name != "__metadata__";
    if (!named) throw InvalidArgument(fmt::format("save_tensors: \"{}\" can't name a tensor", escape(name)));
    if (!tensor.defined()) throw InvalidArgument(fmt::format("save_tensors: tensor \"{}\" is undefined", escape(name)));
    if (!names.insert(name).second) {
      throw InvalidArgument(fmt::format("save_tensors: two tensors are named \"{}\"", escape(name)));
    }
    if (options.as_i64.contains(name) && tensor.dtype() != DType::i32) {
      throw InvalidArgument(fmt::format("save_tensors: tensor \"{}\" is {}, only i32 can be written as I64",
                                        escape(name), name_of(tensor.dtype())));
    }
  }
  if (file.tensors.size() > kMaxTensors) {
    throw InvalidArgument(
        fmt::format("save_tensors: {} tensors, expected at most {}", file.tensors.size(), kMaxTensors));
  }
  for (const auto& [key, value] : file.metadata) {
    if (is_checksum_key(key)) throw InvalidArgument("save_tensors: metadata keys that begin with crc32c are reserved");
  }
}

std::string header_text(const Header& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  std::string text;
  try {
    text = json.dump();
    text.pop_back();  // the closing brace
    for (const HeaderEntry& entry : header.entries) {
      // Written piece by piece: looking names up in an ordered_json would be quadratic in their number.
      if (text.size() > 1) text += ',';
      text += nlohmann::json(entry.name).dump();
      text += fmt::format(R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", entry.type,
                          fmt::join(entry.dims, ","), entry.begin, entry.end);
    }
  } catch (const nlohmann::json::exception&) {
    throw InvalidArgument("save_tensors: a name or the metadata is not UTF-8");
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begin at a multiple of 8
  if (text.size() > kMaxHeaderBytes) {
    throw InvalidArgument(
        fmt::format("save_tensors: a header of {} bytes, expected at most {}", text.size(), kMaxHeaderBytes));
  }
  return text;
}

// The file in pieces: length and header, then the tensors' bytes in the order of the data.
struct Encoded {
  std::vector<std::byte> head;
  std::vector<Payload> payloads;
  std::vector<std::span<const std::byte>> pieces;
};

Encoded encode(const TensorFile& file, const SaveOptions& options) {
  check_names(file, options);
  Encoded encoded;
  Header header;
  header.metadata = file.metadata;
  for (const auto& [name, tensor] : file.tensors) {
    const FileType& type = file_type_of(tensor.dtype(), options.as_i64.contains(name));
    encoded.payloads.push_back(make_payload(tensor, type));
    header.entries.push_back({.name = name, .type = std::string(type.name)});
    header.entries.back().dims.assign(tensor.shape().begin(), tensor.shape().end());
  }
  std::vector<std::size_t> order(file.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return find_file_type(header.entries[a].type)->bytes > find_file_type(header.entries[b].type)->bytes;
  });
  encoded.pieces.emplace_back();
  std::uint64_t at = 0;
  for (const std::size_t i : order) {
    const auto& bytes = encoded.payloads[i].bytes;
    header.entries[i].begin = at;
    header.entries[i].end = at += bytes.size();
    encoded.pieces.push_back(bytes);
    if (options.checksums) {
      header.metadata[std::string(kChecksumPrefix) + header.entries[i].name] = hex(crc32c(bytes));
    }
  }
  if (options.checksums) header.metadata[std::string(kHeaderChecksum)] = hex(header_checksum(header));

  const std::string text = header_text(header);
  encoded.head.resize(8 + text.size());
  for (std::size_t i = 0; i < 8; ++i) encoded.head[i] = static_cast<std::byte>((text.size() >> (8 * i)) & 0xFFU);
  std::memcpy(encoded.head.data() + 8, text.data(), text.size());
  encoded.pieces.front() = encoded.head;
  return encoded;
}

// ---- reading ----

Tensor read_i64(std::span<const std::byte> bytes, const HeaderEntry& entry, const std::string& source) {
  Tensor tensor = Tensor::empty(entry.shape(), DType::i32);
  auto* values = tensor.data<std::int32_t>();
  for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
    const auto value = static_cast<std::int64_t>(little_endian(bytes.data() + 8 * i));
    if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::int32_t>::max()) {
      throw FormatError(fmt::format("{}: tensor \"{}\": element {} is {}, which an i32 can't hold",
                                    escape_path(source, 200), escape(entry.name), i, value));
    }
    values[i] = static_cast<std::int32_t>(value);
  }
  return tensor;
}

void verify(std::span<const std::byte> bytes, const HeaderEntry& entry, const Header& header,
            const std::string& source) {
  const auto stored = header.metadata.find(std::string(kChecksumPrefix) + entry.name);
  if (stored == header.metadata.end()) return;
  const std::string found = hex(crc32c(bytes));
  if (stored->second != found) {
    throw FormatError(fmt::format("{}: tensor \"{}\" is damaged: CRC32C {} in the header, {} of the data",
                                  escape_path(source, 200), escape(entry.name), escape(stored->second, 20), found));
  }
}

std::map<std::string, std::string> without_checksums(std::map<std::string, std::string> metadata) {
  std::erase_if(metadata, [](const auto& item) { return is_checksum_key(item.first); });
  return metadata;
}

void verify_header(const Header& header, const std::string& source) {
  const auto stored = header.metadata.find(std::string(kHeaderChecksum));
  if (stored == header.metadata.end()) {
    const bool ours = std::any_of(header.metadata.begin(), header.metadata.end(),
                                  [](const auto& item) { return is_checksum_key(item.first); });
    if (ours)
      throw FormatError(escape_path(source, 200) + ": safetensors header is damaged: its own CRC32C is missing");
    return;
  }
  const std::string found = hex(header_checksum(header));
  if (stored->second != found) {
    throw FormatError(fmt::format("{}: safetensors header is damaged: CRC32C {} stored, {} computed",
                                  escape_path(source, 200), escape(stored->second, 20), found));
  }
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::vector<std::byte> encode_tensors(const TensorFile& file, const SaveOptions& options) {
  const Encoded encoded = encode(file, options);
  std::vector<std::byte> bytes;
  for (const auto& piece : encoded.pieces) bytes.insert(bytes.end(), piece.begin(), piece.end());
  return bytes;
}

void save_tensors(const std::string& path, const TensorFile& file, const SaveOptions& options) {
  save_atomically(path, encode(file, options).pieces);
}

TensorFile decode_tensors(std::span<const std::byte> bytes, const std::string& source) {
  const std::uint64_t length = header_length(bytes.first(std::min<std::size_t>(bytes.size(), 8)), bytes.size(), source);
  const Header header = parse_header(as_text(bytes.subspan(8, length)), bytes.size(), source);
  verify_header(header, source);
  TensorFile file;
  for (const HeaderEntry& entry : header.entries) {
    const auto data = bytes.subspan(header.data_offset + entry.begin, entry.end - entry.begin);
    verify(data, entry, header, source);
    const bool wide = entry.type == "I64";
    const DType dtype = find_file_type(entry.type)->dtype;
    file.tensors.emplace_back(
        entry.name, wide ? read_i64(data, entry, source) : Tensor::from_host(data.data(), entry.shape(), dtype));
  }
  file.metadata = without_checksums(header.metadata);
  return file;
}

TensorFile load_tensors(const std::string& path) { return decode_tensors(read_file(path), path); }

TensorFileInfo inspect_tensors(const std::string& path) {
  const InputFile file(path);
  std::vector<std::byte> first(std::min<std::uint64_t>(file.size(), 8));
  file.read_at(0, first);
  std::vector<std::byte> text(header_length(first, file.size(), path));
  file.read_at(8, text);
  const Header header = parse_header(as_text(text), file.size(), path);
  TensorFileInfo info;
  info.file_bytes = file.size();
  for (const HeaderEntry& entry : header.entries) {
    info.tensors.push_back({entry.name, entry.type, entry.shape(), entry.end - entry.begin});
  }
  info.metadata = without_checksums(header.metadata);
  return info;
}

}  // namespace descent::io
