// What a text of PTX declares at its top level: kernels, functions and variables.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/declaration.h"
#include "ptx/text.h"

namespace simulated::ptx {

// Parts of a kernel's or a function's text, without their brackets.
struct Function {
  std::string_view returns, parameters, directives, body;
};

struct Program {
  explicit Program(std::string ptx);  // allocates and sets variables in global and constant memory
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const std::string text;  // what the views below show
  int target = 0;
  std::vector<std::string> kernel_names;
  Names<Function> kernels, functions;
  Names<Declaration> shared;                     // variables in shared memory
  Names<std::uint64_t> variables;                // addresses of those in global and constant memory
  std::set<std::string, std::less<>> constants;  // names of those in constant memory, which kernels may not use

 private:
  void read_function(class Scanner& scanner, bool kernel);
  void read_variable(std::string_view text);
};

}  // namespace simulated::ptx
