// Tests what the simulated cuBLASLt refuses, and with which status.
#include "libraries_lt_fixture.h"

namespace simulated {
namespace {

constexpr auto kOk = CUBLAS_STATUS_SUCCESS;
constexpr auto kInvalid = CUBLAS_STATUS_INVALID_VALUE;
constexpr auto kUnsupported = CUBLAS_STATUS_NOT_SUPPORTED;

class LtRules : public CublasLt {
 protected:
  cublasStatus_t asked(const LtCase& t) { return prepare(t).status; }

  // The status after changing the descriptors.
  template <class Change>
  cublasStatus_t asked(const LtCase& t, Change&& change) {
    Prepared p;
    set_descriptors(t, p);
    change(p);
    ask(p);
    return p.status;
  }
};

TEST_F(LtRules, AttributesHaveTheirSizes) {
  Prepared p;
  set_descriptors(base(), p);
  const std::int64_t wide = 0;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &wide, sizeof wide), kInvalid);
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, nullptr, 4), kInvalid);
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &wide, sizeof wide),
            kUnsupported);
  EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(p.a, CUBLASLT_MATRIX_LAYOUT_LD, &wide, 4), kInvalid);
  EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(p.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &wide, 4),
            kInvalid);
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(nullptr, CUBLASLT_MATMUL_DESC_TRANSA, &wide, 4), kInvalid);
  std::int64_t got = -1;
  std::size_t written = 0;
  EXPECT_EQ(cublasLtMatmulDescGetAttribute(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &got, sizeof got, &written),
            kOk);
  EXPECT_EQ(got, 128);
  EXPECT_EQ(written, sizeof got);
  EXPECT_EQ(cublasLtMatmulDescDestroy(p.desc), kOk);
}

TEST_F(LtRules, Types) {
  const auto with = [&](cublasComputeType_t compute, cudaDataType operands, cudaDataType result) {
    LtCase t = base();
    t.compute = compute;
    t.operands = operands;
    t.result = result;
    return asked(t);
  };
  EXPECT_EQ(with(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F), kOk);
  EXPECT_EQ(with(CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F), kOk);
  EXPECT_EQ(with(CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF), kOk);
  EXPECT_EQ(with(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16BF), kUnsupported);
  EXPECT_EQ(with(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_16BF, CUDA_R_16BF), kUnsupported);
  EXPECT_EQ(with(CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F), kUnsupported);
  EXPECT_EQ(with(CUBLAS_COMPUTE_16F, CUDA_R_16F, CUDA_R_16F), kUnsupported);
}

TEST_F(LtRules, Layouts) {
  const LtCase t = base();
  const auto with = [&](auto which, cublasLtMatrixLayoutAttribute_t attribute, auto value) {
    return asked(t, [&](Prepared& p) { set(p.*which, attribute, value); });
  };
  EXPECT_EQ(with(&Prepared::a, CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{15}), kInvalid);
  EXPECT_EQ(with(&Prepared::b, CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{63}), kInvalid);
  EXPECT_EQ(with(&Prepared::d, CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{15}), kInvalid);
  EXPECT_EQ(with(&Prepared::a, CUBLASLT_MATRIX_LAYOUT_ROWS, std::uint64_t{15}), kInvalid) << "sizes that do not fit";
  EXPECT_EQ(with(&Prepared::b, CUBLASLT_MATRIX_LAYOUT_ROWS, std::uint64_t{63}), kInvalid);
  EXPECT_EQ(with(&Prepared::d, CUBLASLT_MATRIX_LAYOUT_COLS, std::uint64_t{7}), kInvalid);
  EXPECT_EQ(with(&Prepared::a, CUBLASLT_MATRIX_LAYOUT_COLS, std::uint64_t{0}), kInvalid);
  EXPECT_EQ(with(&Prepared::a, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{2}), kInvalid) << "batches differ";
  EXPECT_EQ(with(&Prepared::a, CUBLASLT_MATRIX_LAYOUT_ORDER, std::int32_t{CUBLASLT_ORDER_ROW}), kUnsupported);
  LtCase batch = base();
  batch.batch = 2;
  batch.stride_c = 127;
  EXPECT_EQ(asked(batch), kInvalid) << "matrices of D overlap";
  batch.stride_c = 128;
  EXPECT_EQ(asked(batch), kOk);
}

TEST_F(LtRules, Descriptors) {
  const LtCase t = base();
  const auto with = [&](cublasLtMatmulDescAttributes_t attribute, std::int32_t value) {
    return asked(t, [&](Prepared& p) { set(p.desc, attribute, value); });
  };
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_TRANSC, CUBLAS_OP_T), kUnsupported);
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_C), kUnsupported);
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_POINTER_MODE, CUBLASLT_POINTER_MODE_DEVICE), kUnsupported);
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_FILL_MODE, CUBLAS_FILL_MODE_LOWER), kUnsupported);
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_SCALE_TYPE, CUDA_R_64F), kUnsupported);
  EXPECT_EQ(with(CUBLASLT_MATMUL_DESC_EPILOGUE, 3), kInvalid);
  EXPECT_EQ(asked(t, [](Prepared& p) { p.desc = nullptr; }), kInvalid);
  EXPECT_EQ(asked(t, [](Prepared& p) { std::swap(p.a, p.d); }), kInvalid);
}

TEST_F(LtRules, AuxiliaryBuffers) {
  for (const auto epilogue : {CUBLASLT_EPILOGUE_RELU_AUX, CUBLASLT_EPILOGUE_RELU_AUX_BIAS, CUBLASLT_EPILOGUE_DRELU,
                              CUBLASLT_EPILOGUE_DRELU_BGRAD}) {
    LtCase t = base(epilogue);
    EXPECT_EQ(asked(t), kOk);
    t.aux_ld = 64;
    EXPECT_EQ(asked(t), kInvalid) << "bits: not a multiple of 128";
    t = base(epilogue);
    t.aux = nullptr;
    EXPECT_EQ(asked(t), kInvalid);
    t = base(epilogue);
    t.batch = 2;
    t.stride_c = t.bias_stride = 128;
    t.aux_stride = 128 * 8 - 128;
    EXPECT_EQ(asked(t), kInvalid) << "bits of a batch overlap";
    t.aux_stride = 128 * 8;
    EXPECT_EQ(asked(t), kOk);
  }
  for (const auto epilogue : {CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_DGELU,
                              CUBLASLT_EPILOGUE_DGELU_BGRAD}) {
    LtCase t = base(epilogue);
    t.aux_ld = 16;
    EXPECT_EQ(asked(t), kOk);
    t.aux_ld = 20;
    EXPECT_EQ(asked(t), kInvalid) << "not a multiple of 8";
    t.aux_ld = 8;
    EXPECT_EQ(asked(t), kInvalid) << "fewer than the rows";
    t.aux_ld = 16;
    EXPECT_EQ(
        asked(t,
              [](Prepared& p) { set(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, std::int32_t{CUDA_R_16BF}); }),
        kInvalid);
  }
}

TEST_F(LtRules, Biases) {
  for (const auto epilogue :
       {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS,
        CUBLASLT_EPILOGUE_RELU_AUX_BIAS, CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_BGRADA}) {
    LtCase t = base(epilogue);
    EXPECT_EQ(asked(t), kOk);
    const auto type = [](cudaDataType value) {
      return [value](Prepared& p) { set(p.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, std::int32_t{value}); };
    };
    EXPECT_EQ(asked(t, type(CUDA_R_32F)), kOk);
    EXPECT_EQ(asked(t, type(CUDA_R_16BF)), kUnsupported);
    t.bias = nullptr;
    EXPECT_EQ(asked(t), kInvalid);
  }
  LtCase t = base(CUBLASLT_EPILOGUE_DRELU_BGRAD);
  t.batch = 2;
  t.stride_c = 128;
  t.aux_stride = 128 * 8;
  EXPECT_EQ(asked(t), kInvalid) << "sums of a batch in one place";
  t.bias_stride = 16;
  EXPECT_EQ(asked(t), kOk);
}

TEST_F(LtRules, SumsOfOperandsHaveAnOrientation) {
  LtCase t = base(CUBLASLT_EPILOGUE_BGRADB);
  EXPECT_EQ(asked(t), kUnsupported) << "B is not transposed";
  t.shape.transpose_b = true;
  EXPECT_EQ(asked(t), kOk);
  t.epilogue = CUBLASLT_EPILOGUE_BGRADA;
  EXPECT_EQ(asked(t), kOk);
  t.shape.transpose_a = true;
  EXPECT_EQ(asked(t), kUnsupported);
}

TEST_F(LtRules, GradientsOfActivationsNeedMoreThanOneProduct) {
  for (const auto epilogue : {CUBLASLT_EPILOGUE_DRELU, CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_DGELU,
                              CUBLASLT_EPILOGUE_DGELU_BGRAD}) {
    LtCase t = base(epilogue);
    t.shape.k = 1;
    EXPECT_EQ(asked(t), kUnsupported);
  }
}

TEST_F(LtRules, TablesOfEpilogues) {
  const auto with = [&](std::uint32_t epilogue, bool mixed) {
    LtCase t = base(epilogue);
    t.shape.transpose_b = true;
    if (mixed) t.operands = CUDA_R_16BF;
    return asked(t);
  };
  settings().epilogues = Epilogues::none;
  EXPECT_EQ(with(CUBLASLT_EPILOGUE_DEFAULT, false), kOk);
  EXPECT_EQ(with(CUBLASLT_EPILOGUE_BIAS, false), kUnsupported);
  settings().epilogues = Epilogues::some;
  for (const auto epilogue : {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_AUX_BIAS,
                              CUBLASLT_EPILOGUE_GELU_AUX_BIAS}) {
    EXPECT_EQ(with(epilogue, false), kOk) << epilogue;
    EXPECT_EQ(with(epilogue, true), kOk) << epilogue;
  }
  for (const auto epilogue : {CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_DGELU_BGRAD, CUBLASLT_EPILOGUE_BGRADB}) {
    EXPECT_EQ(with(epilogue, false), kOk) << epilogue;
    EXPECT_EQ(with(epilogue, true), kUnsupported) << epilogue;
  }
  for (const auto epilogue : {CUBLASLT_EPILOGUE_DRELU, CUBLASLT_EPILOGUE_DGELU, CUBLASLT_EPILOGUE_GELU_AUX}) {
    EXPECT_EQ(with(epilogue, false), kUnsupported) << epilogue;
    settings().epilogues = Epilogues::all;
    EXPECT_EQ(with(epilogue, false), kOk) << epilogue;
    EXPECT_EQ(with(epilogue, true), kOk) << epilogue;
    settings().epilogues = Epilogues::some;
  }
}

TEST_F(LtRules, HeuristicsFollowThePreference) {
  LtCase t = base();
  const Prepared p = prepare(t);
  ASSERT_GE(p.found.size(), 3U);
  EXPECT_NE(p.found[0].state, kOk) << "the first result may be unusable";
  EXPECT_GT(p.found[1].workspaceSize, 0U);
  EXPECT_EQ(p.found[2].workspaceSize, 0U);
  t.most_workspace = 0;
  const Prepared none = prepare(t);
  ASSERT_EQ(none.found.size(), 2U);
  EXPECT_EQ(none.found[1].workspaceSize, 0U);
  Prepared one;
  set_descriptors(t, one);
  ask(one, 1);
  ASSERT_EQ(one.found.size(), 1U);
  EXPECT_EQ(one.found[0].state, kOk);
  one.found.resize(1);
  int count = 0;
  EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(handle_, one.desc, one.a, one.b, one.d, one.d, one.preference, 0,
                                           one.found.data(), &count),
            kInvalid);
  t.alignment = 3;
  EXPECT_EQ(prepare(t).status, kInvalid) << "an alignment that is no power of two";
}

}  // namespace
}  // namespace simulated
