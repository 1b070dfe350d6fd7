#pragma once

#include <string>

namespace simulated {

// Of a kernel's mangled name: its own name with its template's arguments, without namespaces, result and parameters.
std::string kernel_name(const std::string& mangled);

}  // namespace simulated
