// Parses constants.
#include "ptx/number.h"

#include <bit>
#include <charconv>

namespace simulated::ptx {
namespace {

std::optional<std::uint64_t> digits(std::string_view text, int base) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return value;
}

bool begins(std::string_view text, char second) {
  return text.size() > 2 && text[0] == '0' && (text[1] | 32) == second;
}

}  // namespace

bool is_number(std::string_view text) {
  return !text.empty() && ((text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '+');
}

std::optional<std::int64_t> integer(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  if (!text.empty() && text.back() == 'U') text.remove_suffix(1);
  std::optional<std::uint64_t> value;
  if (begins(text, 'x')) {
    value = digits(text.substr(2), 16);
  } else if (begins(text, 'b')) {
    value = digits(text.substr(2), 2);
  } else if (text.size() > 1 && text[0] == '0') {
    value = digits(text.substr(1), 8);
  } else {
    value = digits(text, 10);
  }
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>(negative ? 0 - *value : *value);
}

std::optional<std::uint64_t> number(std::string_view text, Type type) {
  const bool single = begins(text, 'f'), twice = begins(text, 'd');
  if (single || twice) {
    if (text.size() != (single ? 10 : 18)) return std::nullopt;
    const auto bits = digits(text.substr(2), 16);
    if (!bits) return std::nullopt;
    if (type.kind != 'f') {
      return type.kind == 'b' && type.bytes == (single ? 4 : 8) ? bits : std::nullopt;
    }
    if (type.bytes == (single ? 4 : 8)) return bits;
    if (single) return std::bit_cast<std::uint64_t>(double{std::bit_cast<float>(static_cast<std::uint32_t>(*bits))});
    return std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(*bits)));
  }
  const auto value = integer(text);
  if (type.kind == 'f' || !value) return std::nullopt;
  const auto bits = static_cast<std::uint64_t>(*value);
  return type.bytes == 8 ? bits : bits & ((std::uint64_t{1} << (8 * type.bytes)) - 1);
}

}  // namespace simulated::ptx
