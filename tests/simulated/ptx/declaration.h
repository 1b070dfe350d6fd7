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
  std::string_view initializer;  // after the =, without braces; empty: no initializer
};

// Throws Error for anything unknown.
Declaration parse_declaration(std::string_view text);

// Lays out variables in sequence: rounds `end` up to the declaration's alignment, adds the declaration's size to `end`,
// and returns the aligned offset.
std::uint32_t place(const Declaration& declaration, std::uint32_t& end);

}  // namespace simulated::ptx
