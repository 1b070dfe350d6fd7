// Kernels and variables that programs registered, in the fat binaries that nvcc embeds.
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
  std::uint32_t dynamic_limit = 0;  // of cudaFuncSetAttribute; 0: never called
  // The kernel for the device's capability, and its module's target; set by find_kernel.
  const ptx::Kernel* kernel = nullptr;
  std::shared_ptr<ptx::Module> module;
  int capability = 0;
};

// The function whose address in the host's code this is, with its kernel read. cudaErrorInvalidDeviceFunction: it was
// never registered; cudaErrorNoKernelImageForDevice: no PTX in its fat binary is for the device's capability. Throws
// ptx::Error.
cudaError_t find_kernel(const void* host_function, Function*& function);

// Reads every kernel that the program registered; how many there are. Throws ptx::Error for the first that it can't
// read.
int read_all_kernels();

struct Variable {
  std::uint64_t address = 0, bytes = 0;
};
cudaError_t find_variable(const void* host_variable, Variable& variable);

}  // namespace simulated
