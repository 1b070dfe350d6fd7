// Reads a kernel's statements, scopes and variables.
#include "ptx/kernel_reader.h"

#include <algorithm>

#include "ptx/launch_limits.h"
#include "ptx/number.h"

namespace simulated::ptx {
namespace {

constexpr std::string_view kRefusal = "PTX of kernel ";

}  // namespace

KernelReader::KernelReader(const Program& program, Kernel& kernel)
    : program_(program), kernel_(kernel), registers_(kernel) {}

void KernelReader::refuse(const std::string& what) const {
  std::string message = std::string(kRefusal) + kernel_.name + ": " + what;
  if (!statement_.empty()) message += ", in `" + on_one_line(statement_) + "`";
  throw Error(FaultKind::invalid_ptx, message);
}

void KernelReader::read(const Function& function) {
  frames_.emplace_back();
  open_scope();
  try {
    read_parameters(function);
    read_directives(function.directives);
    read_body(function.body);
    close_scope();
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.substr(0, kRefusal.size()) == kRefusal) throw;
    refuse(std::string(what));  // from a function that does not know about kernels
  }
  statement_ = "end of the kernel";
  Line end;
  end.out.control = Control::exit;
  emit(end);
  place_dynamic_shared();
}

void KernelReader::read_parameters(const Function& function) {
  for (const std::string_view text : split_at_commas(function.parameters)) {
    const Declaration d = parse_declaration(text);
    if (d.space != "param" || d.unsized) refuse("unknown parameter `" + on_one_line(text) + "`");
    const std::uint32_t offset = place(d, kernel_.parameter_bytes);
    kernel_.parameters.push_back({d.name, offset, d.bytes});
    frames_.back().scopes.back().variables[d.name] = {Space::parameter, offset};
  }
}

// Directives that bound the threads and registers that ptxas may plan for do not affect results.
void KernelReader::read_directives(std::string_view directives) {
  Scanner scanner(directives);
  while (!scanner.done()) {
    const std::string_view name = scanner.word();
    if (name != ".maxntid" && name != ".minnctapersm" && name != ".maxnreg") {
      refuse("unknown directive `" + on_one_line(name.empty() ? directives : name) + "`");
    }
    std::uint32_t product = 1;
    do {
      const auto value = integer(scanner.word());
      if (!value || *value < 1 || *value > kMostThreads) refuse("no number after " + std::string(name));
      product *= static_cast<std::uint32_t>(*value);
    } while (scanner.take(','));
    if (name == ".maxntid") kernel_.max_threads = product;
  }
}

void KernelReader::read_body(std::string_view body) {
  Scanner scanner(body);
  while (!scanner.done()) {
    if (scanner.take(';')) continue;
    if (scanner.take('{')) {
      open_scope();
      continue;
    }
    if (scanner.take('}')) {
      close_scope();
      continue;
    }
    const Scanner begin = scanner;
    const std::string_view word = scanner.word();
    if (scanner.take(':')) {
      frames_.back().scopes.back().labels[std::string(word)] = static_cast<std::uint32_t>(kernel_.code.size());
      continue;
    }
    scanner = begin;
    statement_ = scanner.until_semicolon();
    const std::string statement = statement_;  // a call reads other statements before it returns
    if (statement[0] == '.') {
      read_directive(statement);
    } else {
      read_instruction(statement);
    }
  }
}

void KernelReader::open_scope() { frames_.back().scopes.emplace_back(); }

void KernelReader::close_scope() {
  Frame& frame = frames_.back();
  Scope scope = std::move(frame.scopes.back());
  frame.scopes.pop_back();
  for (auto& [instruction, label] : scope.branches) {
    const auto found = scope.labels.find(label);
    if (found != scope.labels.end()) {
      kernel_.code[instruction].target = static_cast<std::int32_t>(found->second);
    } else if (!frame.scopes.empty()) {
      frame.scopes.back().branches.emplace_back(instruction, std::move(label));
    } else {
      statement_ = kernel_.texts[kernel_.code[instruction].text];
      refuse("unknown label " + label);
    }
  }
}

void KernelReader::read_directive(std::string_view statement) {
  Scanner scanner(statement);
  const std::string_view name = scanner.word();
  if (name == ".reg") {
    declare_registers(statement.substr(name.size()));
  } else if (name == ".shared" || name == ".local" || name == ".param") {
    declare_variable(statement);
  } else if (name == ".pragma") {  // hints for ptxas
    const std::string_view what = trimmed(statement.substr(name.size()));
    if (what != "\"nounroll\"" && what.substr(0, 17) != "\"used_bytes_mask ") refuse("unknown pragma");
  } else {
    refuse("unknown directive " + std::string(name));
  }
}

void KernelReader::declare_registers(std::string_view declaration) {
  declaration = trimmed(declaration);
  const std::size_t end = std::min(declaration.find_first_of(" \t\r\n"), declaration.size());
  const std::string_view type_name = declaration.substr(0, end);
  const Type type = type_of(type_name.empty() ? type_name : type_name.substr(1));
  if (type.bytes == 0) refuse("unknown type " + std::string(type_name) + " of registers");
  for (const std::string_view name : split_at_commas(declaration.substr(end))) {
    const std::size_t range = name.find('<');
    if (range == std::string_view::npos) {
      add_register(name, type);
      continue;
    }
    const auto count = name.back() == '>' ? integer(name.substr(range + 1, name.size() - range - 2)) : std::nullopt;
    if (!count || *count < 0 || *count > 1'000'000) refuse("unknown number of registers");
    for (std::int64_t n = 0; n < *count; ++n) {
      add_register(std::string(name.substr(0, range)) + std::to_string(n), type);
    }
  }
}

void KernelReader::add_register(std::string_view name, Type type) {
  if (!frames_.back().scopes.back().registers.emplace(name, registers_.add(type)).second) {
    refuse("a second register " + std::string(name));
  }
}

void KernelReader::declare_variable(std::string_view declaration) {
  const Declaration d = parse_declaration(declaration);
  if (d.unsized || d.external || !d.initializer.empty()) refuse("unknown declaration of a variable");
  const bool shared = d.space == "shared";
  const std::uint32_t offset = place(d, shared ? kernel_.shared_bytes : kernel_.local_bytes);
  frames_.back().scopes.back().variables[d.name] = {shared ? Space::shared : Space::local, offset};
}

void KernelReader::read_instruction(std::string_view statement) {
  Line line;
  Scanner scanner(statement);
  std::string_view word = scanner.word();
  if (word[0] == '@') {
    std::string_view name = word.substr(1);
    line.out.negated_guard = !name.empty() && name[0] == '!';
    if (line.out.negated_guard) name.remove_prefix(1);
    line.out.guard = predicate_source(name);
    word = scanner.word();
  }
  if (word.empty()) refuse("no instruction");
  line.opcode = parse_opcode(word);
  line.operands =
      split_at_commas(statement.substr(static_cast<std::size_t>(word.data() + word.size() - statement.data())));
  for (const std::string_view operand : line.operands) {
    if (operand.empty()) refuse("an empty operand");
  }
  (this->*handler(line.opcode))(line);
}

void KernelReader::emit(const Line& line) {
  kernel_.code.push_back(line.out);
  kernel_.code.back().text = static_cast<std::uint32_t>(kernel_.texts.size());
  kernel_.texts.push_back(on_one_line(statement_));
}

// Places dynamic shared memory after the static, whose size is now known.
void KernelReader::place_dynamic_shared() {
  if (kernel_.shared_bytes > kMostStaticShared) {  // as ptxas does
    refuse(std::to_string(kernel_.shared_bytes) + " bytes of static shared memory, at most " +
           std::to_string(kMostStaticShared));
  }
  kernel_.dynamic_begin = (kernel_.shared_bytes + dynamic_alignment_ - 1) & ~(dynamic_alignment_ - 1);
  registers_.set_dynamic_shared(kernel_.dynamic_begin);
  for (const std::size_t n : dynamic_addresses_) kernel_.code[n].immediate += kernel_.dynamic_begin;
}

}  // namespace simulated::ptx
