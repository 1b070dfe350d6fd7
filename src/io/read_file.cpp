// Reads files, whole or in part, after checking their type and size.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "descent/error.h"
#include "descent/io.h"
#include "io/input_file.h"

namespace descent::io {

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a pipe without a writer must not hang.
  file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) throw IoError(path, "open", errno);
  struct stat info {};
  const bool known = fstat(file_, &info) == 0;
  if (known && S_ISREG(info.st_mode)) {
    size_ = static_cast<std::uint64_t>(info.st_size);
    return;
  }
  const int error = !known ? errno : S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  close(file_);
  throw IoError(path, error == EINVAL ? "read (not a regular file)" : "read", error);
}

InputFile::~InputFile() { close(file_); }

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  std::size_t done = 0;
  while (done < out.size()) {
    const auto at = static_cast<off_t>(offset + done);
    const ssize_t got = pread(file_, out.data() + done, std::min(out.size() - done, kChunk), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw IoError(path_, "read", errno);
    if (got == 0) {
      throw FormatError(fmt::format("{}: ends at byte {}, expected {}: it changed while it was read",
                                    escape_path(path_, 200), offset + done, offset + out.size()));
    }
    done += static_cast<std::size_t>(got);
  }
}

namespace {

template <class Buffer>
Buffer read_whole(const std::string& path, std::uint64_t limit) {
  const InputFile file(path);
  if (file.size() > limit) {
    throw FormatError(fmt::format("{}: {} bytes, expected at most {}", escape_path(path, 256), file.size(), limit));
  }
  Buffer buffer;
  try {
    buffer.resize(file.size());
  } catch (const std::exception&) {  // bad_alloc, or length_error for a size beyond all memory
    throw OutOfMemory("reading " + escape_path(path, 200), file.size(), 0);
  }
  file.read_at(0, std::as_writable_bytes(std::span(buffer)));
  return buffer;
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path, std::uint64_t limit) {
  return read_whole<std::vector<std::byte>>(path, limit);
}

std::string read_text(const std::string& path, std::uint64_t limit) { return read_whole<std::string>(path, limit); }

}  // namespace descent::io
