// Parses the top-level declarations of a PTX text.
#include "ptx/program.h"

#include <cstring>

#include "device_memory.h"
#include "ptx/number.h"

namespace simulated::ptx {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(FaultKind::invalid_ptx, "PTX: " + what); }

// The initial bytes of a variable with an initializer.
std::string initial_bytes(const Declaration& d) {
  std::string bytes(d.bytes, '\0');
  const std::size_t width = static_cast<std::size_t>(d.element.bytes);
  std::size_t at = 0;
  for (const std::string_view item : split_at_commas(d.initializer)) {
    const auto value = number(item, d.element);
    if (!value || at + width > bytes.size()) {
      refuse("unknown initial value `" + std::string(item.substr(0, 100)) + "` of " + d.name);
    }
    std::memcpy(bytes.data() + at, &*value, width);
    at += width;
  }
  return bytes;
}

}  // namespace

Program::Program(std::string ptx) : text(without_comments(std::move(ptx))) {
  Scanner scanner(text);
  while (!scanner.done()) {
    const Scanner begin = scanner;
    std::string_view word = scanner.word();
    if (word == ".version") {
      scanner.word();
    } else if (word == ".target") {
      const std::string_view name = scanner.word();
      const auto number =
          name.substr(0, 3) == "sm_" ? integer(name.substr(3, name.find_last_of("0123456789") - 2)) : std::nullopt;
      if (!number || scanner.peek() == ',') refuse("unknown target `" + std::string(name) + "`");
      target = static_cast<int>(*number);
    } else if (word == ".address_size") {
      if (scanner.word() != "64") refuse("addresses that do not have 64 bits");
    } else {
      while (word == ".visible" || word == ".weak" || word == ".extern") word = scanner.word();
      if (word == ".entry" || word == ".func") {
        read_function(scanner, word == ".entry");
      } else if (word == ".global" || word == ".const" || word == ".shared") {
        scanner = begin;
        read_variable(scanner.until_semicolon());
      } else {
        if (word.empty()) word = scanner.until_semicolon();
        refuse("unknown directive `" + on_one_line(word.substr(0, 100)) + "`");
      }
    }
  }
  if (target == 0) refuse("no .target");
}

void Program::read_function(Scanner& scanner, bool kernel) {
  Function function;
  if (scanner.peek() == '(') function.returns = scanner.enclosed();
  const std::string name(scanner.word());
  if (name.empty() || name[0] == '.') refuse("unknown directive `" + name + "` of a function");
  if (scanner.peek() == '(') function.parameters = scanner.enclosed();
  Scanner end = scanner;
  while (end.peek() != '{' && end.peek() != ';' && !end.done()) {
    if (end.word().empty()) end.take(end.peek());
  }
  if (end.peek() == ';') {  // only a declaration
    scanner.until_semicolon();
    return;
  }
  Scanner directives = scanner;
  scanner = end;
  if (scanner.peek() != '{') refuse("no body of " + name);
  function.body = scanner.enclosed();
  const std::string_view first = directives.word();
  if (!first.empty()) {
    function.directives = {first.data(), static_cast<std::size_t>(function.body.data() - 1 - first.data())};
  }
  if (kernel) kernel_names.push_back(name);
  (kernel ? kernels : functions)[name] = function;
}

void Program::read_variable(std::string_view declaration) {
  const Declaration d = parse_declaration(declaration);
  if (d.space == "shared") {
    shared[d.name] = d;
    return;
  }
  if (d.external || d.unsized) refuse("a variable of another module: " + d.name);
  const std::string bytes = initial_bytes(d);
  DeviceMemory& memory = DeviceMemory::instance();
  const std::uint64_t address = memory.allocate(d.bytes, std::max<std::uint64_t>(d.alignment, 256));
  std::string problem;
  char* to = address == 0 ? nullptr : memory.write(address, d.bytes, problem);
  if (to == nullptr) throw Error(FaultKind::other, "no device memory for the variable " + d.name + ": " + problem);
  std::memcpy(to, bytes.data(), bytes.size());
  variables[d.name] = address;
  if (d.space == "const") constants.insert(d.name);
}

}  // namespace simulated::ptx
