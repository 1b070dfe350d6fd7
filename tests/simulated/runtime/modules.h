// Kernels and variables that programs registered, from the fat binaries that nvcc embeds.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "ptx/kernel.h"

namespace simulated {

struct Function {
  std::string name;  // mangled
  void** binary = nullptr;
  std::uint32_t dynamic_limit = 0;  // set by cudaFuncSetAttribute; 0: never called
  // The kernel for the device's capability, and its module's target; set by find_kernel.
  const ptx::Kernel* kernel = nullptr;
  std::shared_ptr<ptx::Module> module;
  int capability = 0;
};

// Finds the function with this host address, and reads its kernel. Returns cudaErrorInvalidDeviceFunction if it was
// never registered, and cudaErrorNoKernelImageForDevice if no PTX in its fat binary suits the device's capability.
// Throws ptx::Error.
cudaError_t find_kernel(const void* host_function, Function*& function);

// Reads every kernel that the program registered, and returns their number. Throws ptx::Error if one is unreadable.
int read_all_kernels();

struct Variable {
  std::uint64_t address = 0, bytes = 0;
};
cudaError_t find_variable(const void* host_variable, Variable& variable);

}  // namespace simulated
