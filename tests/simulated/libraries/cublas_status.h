// What cuBLAS and cuBLASLt both say of themselves.
#pragma once

#include <cublas_v2.h>

namespace simulated {

const char* cublas_status_name(cublasStatus_t status);
const char* cublas_status_text(cublasStatus_t status);
cublasStatus_t cublas_property(libraryPropertyType type, int* value);

}  // namespace simulated
