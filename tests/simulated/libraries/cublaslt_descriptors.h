// cuBLASLt's descriptors: plain data in NVIDIA's opaque structures, so that they may be copied, as NVIDIA's may.
#pragma once

#include <cublasLt.h>

#include <cstdint>

namespace simulated {

// cublasLt.h, cublasLtMatmulDescAttributes_t: the simulated attributes with their default values.
struct MatmulDesc {
  static constexpr std::uint32_t kMagic = 0x4D4D4445;
  std::uint32_t magic = kMagic;
  std::int32_t compute = CUBLAS_COMPUTE_32F;
  std::int32_t scale_type = CUDA_R_32F;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t op_a = CUBLAS_OP_N, op_b = CUBLAS_OP_N, op_c = CUBLAS_OP_N;
  std::int32_t fill_mode = CUBLAS_FILL_MODE_FULL;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  std::int64_t bias_batch_stride = 0;
  void* aux = nullptr;
  std::int64_t aux_ld = 0, aux_batch_stride = 0;
  std::int32_t sm_count_target = 0;
  std::int32_t bias_type = -1, aux_type = -1;  // -1: D's type
};
static_assert(sizeof(MatmulDesc) <= sizeof(cublasLtMatmulDescOpaque_t));

// cublasLtMatrixLayoutAttribute_t.
struct MatrixLayout {
  static constexpr std::uint32_t kMagic = 0x4D4C4159;
  std::uint32_t magic = kMagic;
  std::uint32_t type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t ld = 0;
  std::int32_t order = CUBLASLT_ORDER_COL;
  std::int32_t batch = 1;
  std::int64_t stride = 0;
};
static_assert(sizeof(MatrixLayout) <= sizeof(cublasLtMatrixLayoutOpaque_t));

// cublasLtMatmulPreferenceAttributes_t.
struct MatmulPreference {
  static constexpr std::uint32_t kMagic = 0x50524546;
  std::uint32_t magic = kMagic;
  std::uint32_t search_mode = CUBLASLT_SEARCH_BEST_FIT;
  std::uint64_t most_workspace = 0;
  std::uint32_t reduction_mask = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t align_a = 256, align_b = 256, align_c = 256, align_d = 256;
  float most_waves = 0;
  std::uint64_t impl_mask = ~std::uint64_t{0};
};
static_assert(sizeof(MatmulPreference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

// Null if the handle is no such descriptor, or was destroyed.
template <class Descriptor, class Opaque>
Descriptor* as(Opaque* opaque) {
  auto* descriptor = reinterpret_cast<Descriptor*>(opaque);
  return descriptor != nullptr && descriptor->magic == Descriptor::kMagic ? descriptor : nullptr;
}

}  // namespace simulated
