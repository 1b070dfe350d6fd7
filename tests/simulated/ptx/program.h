// The top-level declarations of a PTX text: kernels, functions and variables.
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

// Parts of a kernel's or function's text, without the enclosing brackets.
struct Function {
  std::string_view returns, parameters, directives, body;
};

struct Program {
  explicit Program(std::string ptx);  // allocates and sets variables in global and constant memory
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const std::string text;  // the storage of the views below
  int target = 0;
  std::vector<std::string> kernel_names;
  Names<Function> kernels, functions;
  Names<Declaration> shared;                     // in shared memory
  Names<std::uint64_t> variables;                // device addresses of global and constant variables
  std::set<std::string, std::less<>> constants;  // names of the constant variables, which kernels may not use

 private:
  void read_function(class Scanner& scanner, bool kernel);
  void read_variable(std::string_view text);
};

}  // namespace simulated::ptx
