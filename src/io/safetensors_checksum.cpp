// Checksums of safetensors files: see safetensors_checksum.h.
#include "io/safetensors_checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::io {
namespace {

constexpr std::string_view kChecksumPrefix = "crc32c.";
// A quote inside a string is escaped, so this matches only the end of a metadata key.
constexpr std::string_view kBeforeDigits = "\"crc32c\" :\"";
constexpr std::string_view kZeros = "00000000";

// Position of the header's own checksum; npos if there is none.
std::size_t find_digits(std::string_view json) {
  std::size_t key = json.find(kBeforeDigits);
  while (key != std::string_view::npos && key > 0 && json[key - 1] == '\\') key = json.find(kBeforeDigits, key + 1);
  if (key == std::string_view::npos) return key;
  const std::size_t at = key + kBeforeDigits.size();
  const bool whole = json.size() - at > kZeros.size() && json[at + kZeros.size()] == '"';
  return whole ? at : std::string_view::npos;
}

std::uint32_t checksum_of(std::string_view json, std::size_t digits) {
  std::uint32_t crc = 0;
  for (const std::string_view part : {json.substr(0, digits), kZeros, json.substr(digits + kZeros.size())}) {
    crc = crc32c(std::as_bytes(std::span(part.data(), part.size())), crc);
  }
  return crc;
}

[[noreturn]] void refuse_header(const std::string& source, const std::string& what) {
  throw FormatError(fmt::format("{}: safetensors header is damaged: {}", escape_path(source, 200), what));
}

}  // namespace

std::string checksum_key(std::string_view tensor) { return fmt::format("{}{}", kChecksumPrefix, tensor); }

bool is_checksum_key(std::string_view key) { return key == kHeaderChecksum || key.starts_with(kChecksumPrefix); }

std::string checksum_text(std::uint32_t value) { return fmt::format("{:08x}", value); }

void seal_header(std::string& json) {
  const std::size_t digits = find_digits(json);
  json.replace(digits, kZeros.size(), checksum_text(checksum_of(json, digits)));
}

bool has_our_marks(std::string_view json) {
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') {
      const std::string_view after = json.substr(i + 1, kMarkedColon.size() + 1);
      if (in_string && after.starts_with(kMarkedColon) && after.back() != ' ') return true;
      in_string = !in_string;
    } else if (in_string && json[i] == '\\') {
      ++i;
    }
  }
  return false;
}

void verify_header(std::string_view json, const std::string& source) {
  const std::size_t digits = find_digits(json);
  if (digits == std::string_view::npos) refuse_header(source, "its own CRC32C is missing");
  const std::string_view stored = json.substr(digits, kZeros.size());
  const std::string found = checksum_text(checksum_of(json, digits));
  if (stored != found) refuse_header(source, fmt::format("CRC32C {} stored, {} computed", escape(stored), found));
}

bool has_checksums(const Header& header) {
  return std::any_of(header.metadata.begin(), header.metadata.end(),
                     [](const auto& item) { return is_checksum_key(item.first); });
}

void verify_unmarked_header(const Header& header, const std::string& source) {
  const auto stored = header.metadata.find(std::string(kHeaderChecksum));
  if (stored == header.metadata.end()) refuse_header(source, "its own CRC32C is missing");
  std::uint32_t crc = 0;
  const auto add = [&](std::string_view text) {
    constexpr std::byte kEnd{0};
    crc = crc32c(std::as_bytes(std::span(text.data(), text.size())), crc);
    crc = crc32c({&kEnd, 1}, crc);
  };
  for (const auto& [key, value] : header.metadata) {
    if (key == kHeaderChecksum) continue;
    add(key);
    add(value);
  }
  for (const HeaderEntry& entry : header.entries) {
    add(entry.name);
    add(entry.type);
    add(fmt::format("{}", fmt::join(entry.dims, ",")));
  }
  const std::string found = checksum_text(crc);
  if (stored->second != found) {
    refuse_header(source, fmt::format("CRC32C {} stored, {} computed", escape(stored->second, 20), found));
  }
}

}  // namespace descent::io
