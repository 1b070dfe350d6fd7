// One product through the simulated cuBLASLt; a test can change every option.
#pragma once

#include <cublasLt.h>

#include "libraries_fixture.h"

namespace simulated {

struct LtCase {
  Shape shape;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType operands = CUDA_R_32F, result = CUDA_R_32F;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  float alpha = 1, beta = 0;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  void* d = nullptr;
  std::int64_t batch = 1, stride_a = 0, stride_b = 0, stride_c = 0;
  void* bias = nullptr;
  std::int64_t bias_stride = 0;
  void* aux = nullptr;
  std::int64_t aux_ld = 0, aux_stride = 0;
  std::uint64_t most_workspace = 1 << 20;
  std::uint32_t reduction_mask = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  std::uint32_t alignment = 16;
};

class CublasLt : public Libraries {
 protected:
  void SetUp() override {
    Libraries::SetUp();
    stream_ = stream();
    workspace_ = device<char>(kWorkspace);
    ASSERT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    cublasLtDestroy(handle_);
    Libraries::TearDown();
  }

  struct Prepared {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    std::vector<cublasLtMatmulHeuristicResult_t> found;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

    const cublasLtMatmulHeuristicResult_t* chosen() const {
      for (const auto& result : found) {
        if (result.state == CUBLAS_STATUS_SUCCESS) return &result;
      }
      return nullptr;
    }
  };

  template <class T>
  static void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, T value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }
  template <class T>
  static void set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, T value) {
    EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(layout, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }
  template <class T>
  static void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }

  static cublasLtMatrixLayout_t layout(cudaDataType type, std::int64_t rows, std::int64_t columns, std::int64_t ld,
                                       std::int64_t batch, std::int64_t stride) {
    cublasLtMatrixLayout_t made = nullptr;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns), ld),
              CUBLAS_STATUS_SUCCESS);
    set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
    set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
    return made;
  }

  static void set_descriptors(const LtCase& t, Prepared& p) {
    const Shape& s = t.shape;
    EXPECT_EQ(cublasLtMatmulDescCreate(&p.desc, t.compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    set(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(p.desc, CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, t.epilogue);
    set(p.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, t.bias);
    set(p.desc, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, t.bias_stride);
    set(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, t.aux);
    set(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, t.aux_ld);
    set(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, t.aux_stride);
    p.a = layout(t.operands, s.rows_a(), s.columns_a(), s.lda(), t.batch, t.stride_a);
    p.b = layout(t.operands, s.rows_b(), s.columns_b(), s.ldb(), t.batch, t.stride_b);
    p.d = layout(t.result, s.m, s.n, s.ldc(), t.batch, t.stride_c);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&p.preference), CUBLAS_STATUS_SUCCESS);
    set(p.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, t.most_workspace);
    set(p.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, t.reduction_mask);
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      set(p.preference, attribute, t.alignment);
    }
  }

  void ask(Prepared& p, int most = 8) {
    p.found.resize(static_cast<std::size_t>(most));
    int count = 0;
    p.status =
        cublasLtMatmulAlgoGetHeuristic(handle_, p.desc, p.a, p.b, p.d, p.d, p.preference, most, p.found.data(), &count);
    p.found.resize(static_cast<std::size_t>(count));
  }

  Prepared prepare(const LtCase& t) {
    Prepared p;
    set_descriptors(t, p);
    ask(p);
    return p;
  }

  cublasStatus_t run(const LtCase& t, const Prepared& p) { return run(t, p, workspace_, kWorkspace); }
  cublasStatus_t run(const LtCase& t, const Prepared& p, void* workspace, std::size_t bytes) {
    const auto* chosen = p.chosen();
    return cublasLtMatmul(handle_, p.desc, &t.alpha, t.a, p.a, t.b, p.b, &t.beta, t.c != nullptr ? t.c : t.d, p.d, t.d,
                          p.d, chosen != nullptr ? &chosen->algo : nullptr, workspace, bytes, stream_);
  }

  cublasStatus_t run(const LtCase& t) {
    const Prepared p = prepare(t);
    return p.status == CUBLAS_STATUS_SUCCESS ? run(t, p) : p.status;
  }

  // f32, 16 x 8 x 64, with all the buffers that an epilogue may need.
  LtCase base(std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT) {
    LtCase t;
    t.shape = {16, 8, 64};
    t.epilogue = epilogue;
    t.a = upload(random(16 * 64, 1), CUDA_R_32F);
    t.b = upload(random(8 * 64, 2), CUDA_R_32F);
    t.d = upload(random(16 * 8, 3), CUDA_R_32F);
    t.bias = upload(random(64, 4), CUDA_R_32F);
    t.aux = upload(random(2048, 5), CUDA_R_32F);
    t.aux_ld = 128;
    return t;
  }

  static constexpr std::size_t kWorkspace = 1 << 20;
  cublasLtHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  char* workspace_ = nullptr;
};

}  // namespace simulated
