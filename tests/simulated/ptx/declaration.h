// Declarations of variables (5.3, 5.4) and parameters: `.visible .global .align 4 .b8 name[12] = {1, 2}`.
#pragma once

#include <string>
#include <string_view>

#include "ptx/opcode.h"

namespace simulated::ptx {

struct Declaration {
  std::string space;  // "global", "const", "shared", "local", "param"
  bool external = false;
  std::uint32_t alignment = 1;  // at least the element's
  Type element;
  std::string name;
  std::uint32_t bytes = 0;
  bool unsized = false;          // name[]: dynamic shared memory
  std::string_view initializer;  // after the =, without braces; empty: there is none
};

// Throws Error for what is not known.
Declaration parse_declaration(std::string_view text);

// Offsets one after the other: rounds `end` up to the declaration's alignment, and returns that after adding its size
// to `end`.
std::uint32_t place(const Declaration& declaration, std::uint32_t& end);

}  // namespace simulated::ptx
