// How error messages are put together: always one line, at most 400 characters, nothing unprintable.
#include "descent/error.h"

#include <fmt/format.h>

#include <cstring>

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
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20U || c == '\x7F') c = ' ';
  }
  if (line.size() > kMessageLimit) {
    line.resize(cut_point(line, kMessageLimit - 3));
    line += "...";
  }
  return line;
}

}  // namespace

Error::Error(std::string_view message) : std::runtime_error(one_line(message)) {}

IoError::IoError(std::string_view path, std::string_view operation, int error_number)
    : Error(fmt::format("{}: {}: {}", escape(path, 256), operation, std::strerror(error_number))) {}

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

std::string escape(std::string_view bytes, std::size_t limit) {
  std::string text;
  text.reserve(bytes.size() < limit ? bytes.size() : limit);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const bool plain = byte >= 0x20U && byte <= 126U && byte != '"' && byte != '\'' && byte != '\\';
    const std::size_t width = plain ? 1 : 4;
    if (text.size() + width > limit) return text + "...";
    if (plain) {
      text += bytes[i];
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

}  // namespace descent
