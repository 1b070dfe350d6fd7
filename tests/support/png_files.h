// PNG files put together by hand.
#pragma once

#include <zlib.h>

#include <string>
#include <vector>

#include "support/files.h"

namespace descent::test {

inline void put_be32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>((value >> shift) & 0xFFU));
}

inline void put_chunk(Bytes& out, const std::string& type, const Bytes& data) {
  put_be32(out, static_cast<std::uint32_t>(data.size()));
  Bytes body = bytes_of(type);
  body.insert(body.end(), data.begin(), data.end());
  out.insert(out.end(), body.begin(), body.end());
  put_be32(out, static_cast<std::uint32_t>(
                    crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()))));
}

inline Bytes png_header(std::uint32_t width, std::uint32_t height, int depth, int color, int interlace = 0) {
  Bytes out = bytes_of("\x89PNG\r\n\x1a\n");
  Bytes data;
  put_be32(data, width);
  put_be32(data, height);
  for (const int value : {depth, color, 0, 0, interlace}) data.push_back(static_cast<std::byte>(value));
  put_chunk(out, "IHDR", data);
  return out;
}

// A PNG file put together by hand: `raw` are the rows with their filter bytes.
inline Bytes make_png(std::uint32_t width, std::uint32_t height, int depth, int color,
                      const std::vector<std::uint8_t>& raw, const Bytes& palette = {}, const Bytes& transparency = {}) {
  Bytes out = png_header(width, height, depth, color);
  if (!palette.empty()) put_chunk(out, "PLTE", palette);
  if (!transparency.empty()) put_chunk(out, "tRNS", transparency);
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  Bytes data(size);
  compress(reinterpret_cast<Bytef*>(data.data()), &size, raw.data(), static_cast<uLong>(raw.size()));
  data.resize(size);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", {});
  return out;
}

}  // namespace descent::test
