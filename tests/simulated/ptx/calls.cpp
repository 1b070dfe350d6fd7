// Function calls (9.7.12.5): the function's instructions are inlined at each call. Its parameters are the caller's
// variables in .param space, and its `ret` is a branch to the end of the inlined code.
#include <algorithm>

#include "ptx/kernel_reader.h"

namespace simulated::ptx {
namespace {

std::vector<std::string_view> names_in(std::string_view list) {
  if (list.size() < 2 || list.front() != '(' || list.back() != ')') return {};
  return split_at_commas(list.substr(1, list.size() - 2));
}

}  // namespace

// call (result), function, (arguments), with `.uni` or without.
void KernelReader::call(Line& line) {
  if (line.out.guard != kNone) refuse("a call with a guard");
  if (line.opcode.text != "call" && line.opcode.text != "call.uni") refuse("unknown instruction " + line.opcode.text);
  const bool returns = !line.operands.empty() && line.operands[0][0] == '(';
  const std::size_t at = returns ? 1 : 0;
  if (line.operands.size() <= at || line.operands.size() > at + 2) refuse("unknown call");
  const std::string name(line.operands[at]);
  const auto found = program_.functions.find(name);
  if (found == program_.functions.end()) refuse("unknown function " + name);
  const Function& function = found->second;
  if (!trimmed(function.directives).empty()) refuse("unknown directive of function " + name);
  for (const Frame& frame : frames_) {
    if (frame.function == name) refuse("the function " + name + " calls itself");
  }

  Frame callee;
  callee.function = name;
  callee.scopes.emplace_back();
  const auto bind = [&](std::string_view declarations, const std::vector<std::string_view>& arguments) {
    const auto parameters = split_at_commas(declarations);
    if (parameters.size() != arguments.size()) refuse("unknown call: wrong number of parameters");
    for (std::size_t n = 0; n < parameters.size(); ++n) {
      const Declaration d = parse_declaration(parameters[n]);
      const Variable* variable = find_variable(arguments[n]);
      if (d.space != "param" || variable == nullptr || variable->space != Space::local) {
        refuse("unknown parameter " + std::string(arguments[n]) + " of a call");
      }
      callee.scopes.back().variables[d.name] = *variable;
    }
  };
  bind(function.returns, names_in(returns ? line.operands[0] : ""));
  bind(function.parameters, names_in(line.operands.size() > at + 1 ? line.operands[at + 1] : ""));

  frames_.push_back(std::move(callee));
  read_body(function.body);
  close_scope();
  for (const std::size_t n : frames_.back().returns) {
    kernel_.code[n].target = static_cast<std::int32_t>(kernel_.code.size());
  }
  frames_.pop_back();
}

}  // namespace simulated::ptx
