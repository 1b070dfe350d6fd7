// What cuBLASLt accepts: translates descriptors to a product with its epilogue, or refuses them.
#pragma once

#include <optional>
#include <string>

#include "libraries/cublaslt_descriptors.h"
#include "libraries/cublaslt_epilogue.h"

namespace simulated {

struct MatmulProblem {
  Product product;  // without addresses, alpha and beta
  std::uint32_t epilogue_number = CUBLASLT_EPILOGUE_DEFAULT;
  Epilogue epilogue;
  EpilogueBuffers buffers;

  std::string describe() const;  // "cublasLtMatmul 128x256x784 tf32 RELU_AUX_BIAS"
  // Equal for problems that can use the same algorithm; ignores addresses and scalars.
  std::uint64_t fingerprint() const;
};

struct Refusal {
  cublasStatus_t status;
  std::string why;
};

// Also refuses null pointers and invalid descriptors. `c` may be null: "If Cdesc is omitted, this function assumes it
// to be equal to Ddesc" (documentation, "cublasLtMatmul()").
std::optional<Refusal> make_problem(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                    cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, MatmulProblem& problem);

}  // namespace simulated
