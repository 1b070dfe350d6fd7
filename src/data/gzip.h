// Reads a gzip file in memory, with all its members, piece by piece into the caller's buffers: the compressed data
// never determine how much is allocated. Zeros after a member are padding. Damaged, truncated and trailing data throw
// FormatErrors that name the compressed offset.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace descent::data {

class GzipReader {
 public:
  // Both must outlive the reader; `source` names the file in messages.
  GzipReader(std::span<const std::byte> bytes, const std::string& source);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  // Fills `out`, or as much of it as the stream has left; returns the number of bytes.
  std::size_t read(std::span<std::byte> out);
  // Throws unless the stream has ended with a correct checksum and nothing follows it. `promised` is for the message.
  void expect_end(std::uint64_t promised);

  static bool looks_like_gzip(std::span<const std::byte> bytes) {
    return bytes.size() >= 2 && bytes[0] == std::byte{0x1F} && bytes[1] == std::byte{0x8B};
  }
  // Deflate expands by at most 1032:1.
  static constexpr std::uint64_t kMaxRatio = 1032;

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace descent::data
