// Reads a file whole, after a look at its size.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::io {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : path_(path) {
    // O_NONBLOCK: opening a pipe without a writer must not hang.
    file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file_ < 0) throw IoError(path, "open", errno);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { close(file_); }

  std::uint64_t size() const {
    struct stat info{};
    if (fstat(file_, &info) != 0) throw IoError(path_, "stat", errno);
    if (S_ISDIR(info.st_mode)) throw IoError(path_, "read", EISDIR);
    if (!S_ISREG(info.st_mode)) throw IoError(path_, "read (not a regular file)", EINVAL);
    return static_cast<std::uint64_t>(info.st_size);
  }
  // Fills the buffer as far as the file goes; returns the number of bytes read.
  std::size_t read_into(char* buffer, std::size_t count) const {
    constexpr std::size_t kChunk = std::size_t{1} << 30;
    std::size_t done = 0;
    while (done < count) {
      const ssize_t got = read(file_, buffer + done, std::min(count - done, kChunk));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw IoError(path_, "read", errno);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  const std::string& path_;
  int file_;
};

template <class Buffer>
Buffer read_whole(const std::string& path, std::uint64_t limit) {
  const OpenFile file(path);
  const std::uint64_t size = file.size();
  if (size > limit) {
    throw FormatError(fmt::format("{}: {} bytes, expected at most {}", escape(path, 256), size, limit));
  }
  Buffer buffer;
  try {
    buffer.resize(size);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("reading " + escape(path, 256), size, 0);
  }
  const std::size_t got = file.read_into(reinterpret_cast<char*>(buffer.data()), size);
  if (got != size) {
    throw FormatError(fmt::format("{}: ends at byte {}, expected {}: it changed while it was read", escape(path, 256),
                                  got, size));
  }
  return buffer;
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path, std::uint64_t limit) {
  return read_whole<std::vector<std::byte>>(path, limit);
}

std::string read_text(const std::string& path, std::uint64_t limit) { return read_whole<std::string>(path, limit); }

}  // namespace descent::io
