// Parses opcodes and type names.
#include "ptx/opcode.h"

namespace simulated::ptx {

Type type_of(std::string_view name) {
  if (name == "pred") return {'p', 4};
  if (name == "bf16") return {'h', 2};
  const std::string_view kinds = "usbf";
  if (name.size() < 2 || kinds.find(name[0]) == std::string_view::npos) return {'b', 0};
  const std::string_view bits = name.substr(1);
  const int bytes = bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
  if (name[0] == 'f' && bytes < 4) return {'f', 0};  // f16 is not supported
  return {name[0], bytes};
}

Opcode parse_opcode(std::string_view text) {
  Opcode opcode;
  opcode.text = text;
  std::size_t begin = 0;
  const auto next = [&] {
    std::size_t end = text.find('.', begin);
    if (end == std::string_view::npos) end = text.size();
    std::string part(text.substr(begin, end - begin));
    begin = end + 1;
    return part;
  };
  opcode.mnemonic = next();
  while (begin <= text.size()) opcode.modifiers.push_back(next());
  return opcode;
}

}  // namespace simulated::ptx
