// Text that is safe to print to a terminal unchanged: UTF-8 (RFC 3629) without characters that control the terminal,
// break the line or affect the direction of text (all bidirectional formatting characters).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace descent {

inline bool is_control(std::uint32_t c) {
  const bool bidirectional =
      c == 0x061CU || c == 0x200EU || c == 0x200FU || (c >= 0x202AU && c <= 0x202EU) || (c >= 0x2066U && c <= 0x2069U);
  return c < 0x20U || (c >= 0x7FU && c <= 0x9FU) || c == 0x2028U || c == 0x2029U || bidirectional;
}

// The length in bytes of the first character of `text`, 0 if it is not UTF-8; sets `c` to its code point.
inline std::size_t character_length(std::string_view text, std::uint32_t& c) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(0);
  const std::size_t length = first < 0x80U                      ? 1
                             : first >= 0xC2U && first < 0xE0U  ? 2
                             : first >= 0xE0U && first < 0xF0U  ? 3
                             : first >= 0xF0U && first <= 0xF4U ? 4
                                                                : 0;
  if (length == 0 || length > text.size()) return 0;
  c = length == 1 ? first : first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
    c = c << 6U | (byte(i) & 0x3FU);
  }
  const bool overlong = (length == 3 && c < 0x800U) || (length == 4 && c < 0x10000U);
  const bool surrogate = c >= 0xD800U && c <= 0xDFFFU;
  return overlong || surrogate || c > 0x10FFFFU ? 0 : length;
}

// Like character_length, but also 0 for a control character.
inline std::size_t printable_length(std::string_view text) {
  std::uint32_t c = 0;
  const std::size_t length = character_length(text, c);
  return length > 0 && is_control(c) ? 0 : length;
}

inline bool is_utf8(std::string_view text) {
  std::uint32_t c = 0;
  while (!text.empty()) {
    const std::size_t length = character_length(text, c);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace descent
