// Turns failed CUDA and cuBLAS calls into DeviceError with the call, the status name and the source location.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <source_location>

namespace descent::gpu {

void check(cudaError_t status, const char* call, std::source_location where = std::source_location::current());
void check(cublasStatus_t status, const char* call, std::source_location where = std::source_location::current());

}  // namespace descent::gpu
