// Parses declarations of variables and parameters.
#include "ptx/declaration.h"

#include <algorithm>

#include "ptx/number.h"
#include "ptx/text.h"

namespace simulated::ptx {
namespace {

[[noreturn]] void refuse(const std::string& what, std::string_view text) {
  throw Error(FaultKind::invalid_ptx, what + " in the declaration `" + on_one_line(text) + "`");
}

bool is_space(std::string_view word) {
  return word == ".global" || word == ".const" || word == ".shared" || word == ".local" || word == ".param";
}

std::uint32_t size(std::string_view word, std::string_view text) {
  const auto value = integer(trimmed(word));
  if (!value || *value < 0 || *value > 0x7FFFFFFF) refuse("no size `" + std::string(word) + "`", text);
  return static_cast<std::uint32_t>(*value);
}

}  // namespace

Declaration parse_declaration(std::string_view text) {
  Declaration d;
  Scanner scanner(text);
  std::string_view word;
  bool pointer = false;  // after .ptr: space and alignment of what a parameter points to
  while (!(word = scanner.word()).empty() && word[0] == '.') {
    if (is_space(word)) {
      if (!pointer) d.space = word.substr(1);
    } else if (word == ".align") {
      const std::uint32_t alignment = size(scanner.word(), text);
      if (alignment == 0 || (alignment & (alignment - 1)) != 0) refuse("an alignment that is no power of two", text);
      if (!pointer) d.alignment = alignment;
    } else if (word == ".ptr") {
      pointer = true;
    } else if (word == ".extern") {
      d.external = true;
    } else if (const Type type = type_of(word.substr(1)); type.bytes != 0 && type.kind != 'p') {
      d.element = type;
      d.bytes = static_cast<std::uint32_t>(type.bytes);
    } else if (word != ".visible" && word != ".weak") {
      refuse("unknown `" + std::string(word) + "`", text);
    }
  }
  if (d.space.empty() || d.bytes == 0 || word.empty()) refuse("no space, type or name", text);
  d.name = word;
  d.alignment = std::max(d.alignment, d.bytes);
  while (scanner.peek() == '[') {
    const std::string_view extent = scanner.enclosed();
    d.unsized = trimmed(extent).empty();
    if (!d.unsized) d.bytes *= size(extent, text);
  }
  if (d.unsized) d.bytes = 0;
  if (scanner.take('=')) d.initializer = scanner.peek() == '{' ? scanner.enclosed() : scanner.word();
  if (!scanner.done()) refuse("more than a declaration", text);
  return d;
}

std::uint32_t place(const Declaration& declaration, std::uint32_t& end) {
  const std::uint32_t offset = (end + declaration.alignment - 1) & ~(declaration.alignment - 1);
  end = offset + declaration.bytes;
  return offset;
}

}  // namespace simulated::ptx
