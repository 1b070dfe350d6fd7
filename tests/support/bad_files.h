// Formats by name, their readers, valid files to damage, and hand-made bytes.
#pragma once

#include <string>

#include "descent/data.h"
#include "descent/io.h"
#include "io/json.h"
#include "support/files.h"
#include "support/idx_files.h"

namespace descent::test {

enum class Format { idx, safetensors, png, json, normalization };

inline void read(Format format, const Bytes& bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  switch (format) {
    case Format::idx:
      data::decode_idx(bytes, "f.idx");
      break;
    case Format::safetensors:
      io::decode_tensors(bytes, "f.st");
      break;
    case Format::png:
      io::decode_png(bytes, "f.png");
      break;
    case Format::json:
      io::parse_json(text, "f.json");
      break;
    case Format::normalization:
      data::Normalization::from_json(text);
      break;
  }
}

inline Bytes raw(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Bytes first(const Bytes& bytes, std::size_t count) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count)};
}

inline Bytes flipped(Bytes bytes, std::size_t at) {
  bytes.at(at) ^= std::byte{0xFF};
  return bytes;
}

inline Bytes good_idx() { return data::encode_idx(Tensor::full({3, 4, 5}, 7, DType::u8)); }
inline Bytes good_gz() { return gzip(good_idx()); }

inline Bytes safetensors(const std::string& header, std::size_t data_bytes, std::int64_t length = -1) {
  std::uint64_t size = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
  Bytes bytes;
  for (int i = 0; i < 8; ++i, size >>= 8U) bytes.push_back(static_cast<std::byte>(size & 0xFFU));
  return bytes + bytes_of(header) + Bytes(data_bytes, std::byte{1});
}

// A file with one tensor, "x", that has the given fields.
inline Bytes one_tensor(const std::string& dtype, const std::string& shape, const std::string& offsets,
                        std::size_t data_bytes) {
  return safetensors("{\"x\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
                     data_bytes);
}

inline Bytes good_safetensors() {
  io::TensorFile file;
  file.tensors.emplace_back("weight", Tensor::ones({3, 4}));
  file.tensors.emplace_back("count", Tensor::full({2}, 5, DType::i32));
  file.metadata["note"] = "{\"a\": [1, 2]}";
  return io::encode_tensors(file);
}

inline Bytes good_png() { return io::encode_png(Tensor::full({9, 7, 3}, 77, DType::u8)); }

inline const char* const kGoodJson =
    R"({"name": "m", "layers": [{"type": "Linear", "out": 10}, 1.5, true, null], "x": "é\u00e9"})";
inline const char* const kGoodNormalization = R"({"kind": "zscore", "shift": [33.3], "scale": [0.0127]})";

}  // namespace descent::test
