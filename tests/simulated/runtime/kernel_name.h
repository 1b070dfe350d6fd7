// Short names of kernels.
#pragma once

#include <string>

namespace simulated {

// The kernel's name with its template arguments, without namespaces, result type and parameters, from its mangled name.
std::string kernel_name(const std::string& mangled);

}  // namespace simulated
