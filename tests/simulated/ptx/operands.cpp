// Operands of instructions: registers, constants, variables and addresses.
#include <algorithm>

#include "ptx/kernel_reader.h"
#include "ptx/number.h"

namespace simulated::ptx {

const Register* KernelReader::find_register(std::string_view name) const {
  const std::vector<Scope>& scopes = frames_.back().scopes;
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
    if (const auto found = scope->registers.find(name); found != scope->registers.end()) return &found->second;
  }
  return nullptr;
}

const KernelReader::Variable* KernelReader::find_variable(std::string_view name) {
  const std::vector<Scope>& scopes = frames_.back().scopes;
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
    if (const auto found = scope->variables.find(name); found != scope->variables.end()) return &found->second;
  }
  if (const auto found = shared_.find(name); found != shared_.end()) return &found->second;
  if (const auto found = program_.shared.find(name); found != program_.shared.end()) {
    const Declaration& d = found->second;
    Variable& variable = shared_[d.name];
    if (d.unsized) {
      variable = {Space::dynamic_shared, 0};
      dynamic_alignment_ = std::max(dynamic_alignment_, d.alignment);
    } else {
      variable = {Space::shared, place(d, kernel_.shared_bytes)};
    }
    return &variable;
  }
  if (const auto found = program_.variables.find(name); found != program_.variables.end()) {
    if (program_.constants.contains(name)) refuse(found->first + " lies in constant memory, which is not simulated");
    Variable& variable = shared_[found->first];
    variable = {Space::global, found->second};
    return &variable;
  }
  return nullptr;
}

KernelReader::Variable KernelReader::symbol(std::string_view text) {
  const std::size_t plus = text.find('+');
  const std::string_view name = trimmed(text.substr(0, plus));
  const Variable* found = find_variable(name);
  if (found == nullptr) {
    refuse((name.substr(0, 1) == "%" ? "unknown register " : "unknown name ") + std::string(name));
  }
  Variable variable = *found;
  if (plus != std::string_view::npos) {
    const auto offset = integer(trimmed(text.substr(plus + 1)));
    if (!offset) refuse("unknown offset in " + std::string(text));
    variable.address += static_cast<std::uint64_t>(*offset);
  }
  return variable;
}

Register KernelReader::value(std::string_view text, Type type) {
  if (type.kind == 'p') return {predicate_source(text), 4, true};
  const int width = std::max(type.bytes, 2);
  if (is_number(text)) {
    const auto bits = number(text, type);
    if (!bits) refuse("unknown constant " + std::string(text));
    return registers_.constant(*bits, width);
  }
  if (const Register* found = find_register(text)) {
    if (found->predicate) refuse(std::string(text) + " is a predicate");
    return *found;
  }
  if (const Register* found = registers_.special(text)) return *found;
  const Variable variable = symbol(text);
  if (type.kind == 'f' || type.bytes < 4) refuse("the address of " + std::string(text) + " is no value of this type");
  if (variable.space == Space::dynamic_shared) {
    return registers_.dynamic_shared(static_cast<std::uint32_t>(variable.address), width);
  }
  if (width < 8 && variable.address >> 32 != 0) refuse("the address of " + std::string(text) + " has 64 bits");
  return registers_.constant(variable.address, width);
}

Register KernelReader::target(std::string_view text) const {
  const Register* found = find_register(text);
  if (found == nullptr) refuse("unknown register " + std::string(text));
  if (found->predicate) refuse(std::string(text) + " is a predicate");
  return *found;
}

std::int32_t KernelReader::predicate_source(std::string_view text) {
  if (is_number(text)) {
    const auto value = integer(text);
    if (!value) refuse("unknown constant " + std::string(text));
    return registers_.constant_predicate(*value != 0).offset;
  }
  return predicate_target(text);
}

std::int32_t KernelReader::predicate_target(std::string_view text) const {
  const Register* found = find_register(text);
  if (found == nullptr) refuse("unknown register " + std::string(text));
  if (!found->predicate) refuse(std::string(text) + " is no predicate");
  return found->offset;
}

void KernelReader::check_size(std::string_view text, const Register& found, Type type, bool wider) const {
  const int width = std::max(type.bytes, 2);
  if (found.width == width || (wider && found.width > width)) return;
  refuse(std::string(text) + " has " + std::to_string(8 * found.width) + " bits where " +
         std::to_string(8 * type.bytes) + " are needed");
}

void KernelReader::source(Line& line, int n, std::string_view text, Type type) {
  const Register found = value(text, type);
  if (type.kind != 'p') check_size(text, found, type, false);
  line.out.sources[n] = found.offset;
  if (n == 0) line.out.source_width = static_cast<std::uint8_t>(found.width);
}

void KernelReader::destination(Line& line, std::string_view text, Type type) {
  const Register found = target(text);
  check_size(text, found, type, false);
  line.out.targets[0] = found.offset;
  line.out.target_width = static_cast<std::uint8_t>(found.width);
}

// Parses "[%rd1+8]", "[name+8]" or "[16]" in the named space.
void KernelReader::address(Line& line, std::string_view text, std::string_view space) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') refuse("no address: " + std::string(text));
  text = trimmed(text.substr(1, text.size() - 2));
  const std::size_t plus = text.find('+');
  if (const Register* base = find_register(trimmed(text.substr(0, plus)))) {
    if (base->predicate || base->width < 4 || (space == "global" && base->width != 8)) {
      refuse("no address: " + std::string(text));
    }
    if (space == "param" && !frames_.back().function.empty()) refuse("a parameter of a function by its address");
    line.out.address_in_register = true;
    line.out.sources[0] = base->offset;
    line.out.source_width = static_cast<std::uint8_t>(base->width);
    if (plus == std::string_view::npos) return;
    const auto offset = integer(trimmed(text.substr(plus + 1)));
    if (!offset) refuse("unknown offset in " + std::string(text));
    line.out.immediate = *offset;
    return;
  }
  if (is_number(text)) {
    const auto offset = integer(text);
    if (!offset) refuse("unknown address " + std::string(text));
    line.out.immediate = *offset;
    return;
  }
  const Variable variable = symbol(text);
  const bool dynamic = variable.space == Space::dynamic_shared;
  std::string_view actual = "global";
  if (variable.space == Space::shared || dynamic) actual = "shared";
  if (variable.space == Space::parameter) actual = "param";
  if (variable.space == Space::local) {
    actual = "local";
    // Parameters of a call are in local memory.
    if (space == "param") {
      std::replace(line.opcode.modifiers.begin(), line.opcode.modifiers.end(), std::string("param"),
                   std::string("local"));
      space = "local";
    }
  }
  if (actual != space) refuse(std::string(text) + " is not in this memory");
  line.out.immediate = static_cast<std::int64_t>(variable.address);
  if (dynamic) dynamic_addresses_.push_back(kernel_.code.size());
}

void KernelReader::expect(const Line& line, std::size_t operands) const {
  if (line.operands.size() != operands) {
    refuse(std::to_string(line.operands.size()) + " operands where " + std::to_string(operands) + " are needed");
  }
}

std::vector<std::string_view> KernelReader::elements(std::string_view text) const {
  if (text.front() != '{') return {text};
  if (text.back() != '}') refuse("unknown vector " + std::string(text));
  const auto parts = split_at_commas(text.substr(1, text.size() - 2));
  if (parts.size() < 2 || parts.size() > 4) refuse("unknown vector " + std::string(text));
  return parts;
}

}  // namespace simulated::ptx
