// Shared by cuBLAS and cuBLASLt: names and texts of statuses, and version properties.
#pragma once

#include <cublas_v2.h>

namespace simulated {

const char* cublas_status_name(cublasStatus_t status);
const char* cublas_status_text(cublasStatus_t status);
cublasStatus_t cublas_property(libraryPropertyType type, int* value);

}  // namespace simulated
