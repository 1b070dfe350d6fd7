// GzipReader, implemented with zlib's inflate.
#include "data/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "descent/error.h"

namespace descent::data {

struct GzipReader::Stream {
  std::span<const std::byte> bytes;
  const std::string& source;
  z_stream z{};
  std::size_t fed = 0;  // bytes passed to zlib
  bool ended = false;

  std::size_t offset() const { return fed - z.avail_in; }
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(fmt::format("{}: gzip: {} at compressed byte {}", escape_path(source, 200), what, offset()));
  }
  std::span<const std::byte> rest() const { return bytes.subspan(offset()); }
  // At the end of a member: skips zero padding (tapes and disk blocks are padded with zeros) and starts the next
  // member, if any (RFC 1952, 2.2: a file is a series of members and stands for their concatenated contents).
  bool next_member() {
    std::size_t at = offset();
    while (at < bytes.size() && bytes[at] == std::byte{0}) ++at;
    fed = at;
    z.avail_in = 0;
    return looks_like_gzip(rest()) && inflateReset(&z) == Z_OK;
  }
  void feed() {
    constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
    if (z.avail_in > 0 || fed == bytes.size()) return;
    const std::size_t count = std::min(bytes.size() - fed, kMost);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data() + fed));
    z.avail_in = static_cast<uInt>(count);
    fed += count;
  }
};

GzipReader::GzipReader(std::span<const std::byte> bytes, const std::string& source)
    : stream_(new Stream{.bytes = bytes, .source = source}) {
  constexpr int kGzipOnly = 15 + 16;
  const int status = inflateInit2(&stream_->z, kGzipOnly);
  if (status == Z_MEM_ERROR) throw OutOfMemory("gzip", 32768, 0);
  if (status != Z_OK) throw Error("gzip: zlib does not start: " + std::string(zError(status)));
}

GzipReader::~GzipReader() { inflateEnd(&stream_->z); }

std::size_t GzipReader::read(std::span<std::byte> out) {
  Stream& s = *stream_;
  std::size_t done = 0;
  while (done < out.size() && !s.ended) {
    s.feed();
    const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - done, std::numeric_limits<uInt>::max()));
    s.z.next_out = reinterpret_cast<Bytef*>(out.data() + done);
    s.z.avail_out = room;
    const int status = inflate(&s.z, Z_NO_FLUSH);
    const uInt got = room - s.z.avail_out;
    done += got;
    if (status == Z_STREAM_END) {
      s.ended = !s.next_member();
    } else if (status == Z_MEM_ERROR) {
      throw OutOfMemory("gzip", 32768, 0);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && got == 0 && s.offset() == s.bytes.size())) {
      s.fail("the stream ends too early (truncated file)");
    } else if (status != Z_OK) {
      s.fail(s.z.msg != nullptr ? s.z.msg : zError(status));
    }
  }
  return done;
}

void GzipReader::expect_end(std::uint64_t promised) {
  std::byte more{};
  if (read({&more, 1}) != 0) stream_->fail(fmt::format("more than the {} bytes that its content announces", promised));
  const std::size_t trailing = stream_->bytes.size() - stream_->offset();
  if (trailing != 0) stream_->fail(fmt::format("{} bytes follow the end of the stream", trailing));
}

}  // namespace descent::data
