// Formats error messages: always one line, at most 400 bytes, nothing unprintable.
#include "descent/error.h"

#include <fmt/format.h>

#include <cstring>

#include "core/utf8.h"

namespace descent {
namespace {

constexpr std::size_t kMessageLimit = 400;

// Cuts at `limit` bytes, but never inside a UTF-8 sequence.
std::size_t cut_point(std::string_view text, std::size_t limit) {
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return end;
}

std::string one_line(std::string_view message) {
  std::string line(message);
  for (std::size_t i = 0; i < line.size();) {
    const std::size_t length = printable_length(std::string_view(line).substr(i));
    if (length == 0) line[i] = static_cast<unsigned char>(line[i]) < 0x80U ? ' ' : '?';
    i += length == 0 ? 1 : length;
  }
  if (line.size() > kMessageLimit) {
    line.resize(cut_point(line, kMessageLimit - 3));
    line += "...";
  }
  return line;
}

std::string replace_unprintable(std::string_view bytes, std::size_t limit, bool quotes) {
  std::string text;
  text.reserve(bytes.size() < limit ? bytes.size() : limit);
  while (!bytes.empty()) {
    const bool quoted = quotes && (bytes[0] == '"' || bytes[0] == '\'' || bytes[0] == '\\');
    const std::size_t plain = quoted ? 0 : printable_length(bytes);
    if (text.size() + (plain > 0 ? plain : 4) > limit) return text + "...";
    if (plain > 0) {
      text += bytes.substr(0, plain);
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
    }
    bytes.remove_prefix(plain > 0 ? plain : 1);
  }
  return text;
}

}  // namespace

Error::Error(std::string_view message) : std::runtime_error(one_line(message)) {}

IoError::IoError(std::string_view path, std::string_view operation, int error_number)
    : Error(fmt::format("{}: {}: {}", escape_path(path), operation, std::strerror(error_number))) {}

OutOfMemory::OutOfMemory(std::string_view what, std::uint64_t bytes_wanted, std::uint64_t bytes_free)
    : Error(fmt::format("{}: out of memory: {} bytes wanted, {} bytes free", what, bytes_wanted, bytes_free)),
      bytes_wanted_(bytes_wanted),
      bytes_free_(bytes_free) {}

// Out of line, so that the type information is emitted once, here, and exported.
Error::~Error() = default;
InvalidArgument::~InvalidArgument() = default;
FormatError::~FormatError() = default;
IoError::~IoError() = default;
DeviceError::~DeviceError() = default;
OutOfMemory::~OutOfMemory() = default;
NumericalError::~NumericalError() = default;

std::string escape(std::string_view bytes, std::size_t limit) { return replace_unprintable(bytes, limit, true); }
std::string escape_path(std::string_view path, std::size_t limit) { return replace_unprintable(path, limit, false); }

}  // namespace descent
