// Writes safetensors files. Data are laid out by decreasing element size, so that every tensor is aligned; the header
// keeps the caller's order.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "descent/error.h"
#include "descent/io.h"
#include "io/file_calls.h"
#include "io/raw_bytes.h"
#include "io/safetensors_checksum.h"
#include "io/safetensors_header.h"

namespace descent::io {
namespace {

// One tensor's bytes as written to the file; `owned` holds them if they had to be converted.
struct Payload {
  Tensor host;
  std::vector<std::byte> owned;
  std::span<const std::byte> bytes;
};

Payload make_payload(const Tensor& tensor, const FileType& type) {
  Payload payload;
  payload.host = tensor.to(Device::cpu());
  payload.bytes = raw_bytes(payload.host);
  if (!type.converted()) return payload;
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
                                        escape(name), to_string(tensor.dtype())));
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

// The JSON of the header, with our marks (see safetensors_checksum.h) if `marked`.
std::string header_text(const Header& header, bool marked) {
  const std::string_view colon = marked ? kMarkedColon : ":";
  std::string text = "{";
  // Written piece by piece: looking names up in an ordered_json would be quadratic in their number.
  const auto add_name = [&](const std::string& name) {
    if (text.back() != '{') text += ',';
    text += nlohmann::json(name).dump();
    text += colon;
  };
  try {
    if (!header.metadata.empty()) {
      add_name("__metadata__");
      text += '{';
      for (const auto& [key, value] : header.metadata) {
        add_name(key);
        text += nlohmann::json(value).dump();
      }
      text += '}';
    }
    for (const HeaderEntry& entry : header.entries) {
      add_name(entry.name);
      text += fmt::format(R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", entry.type,
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
    return find_file_type(header.entries[a].type)->bits > find_file_type(header.entries[b].type)->bits;
  });
  encoded.pieces.emplace_back();
  std::uint64_t at = 0;
  for (const std::size_t i : order) {
    const auto& bytes = encoded.payloads[i].bytes;
    header.entries[i].begin = at;
    header.entries[i].end = at += bytes.size();
    encoded.pieces.push_back(bytes);
    if (options.checksums) {
      header.metadata[checksum_key(header.entries[i].name)] = checksum_text(crc32c(bytes));
    }
  }
  if (options.checksums) header.metadata[std::string(kHeaderChecksum)] = checksum_text(0);

  std::string text = header_text(header, options.checksums);
  if (options.checksums) seal_header(text);
  encoded.head.resize(8 + text.size());
  for (std::size_t i = 0; i < 8; ++i) encoded.head[i] = static_cast<std::byte>((text.size() >> (8 * i)) & 0xFFU);
  std::memcpy(encoded.head.data() + 8, text.data(), text.size());
  encoded.pieces.front() = encoded.head;
  return encoded;
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

}  // namespace descent::io
