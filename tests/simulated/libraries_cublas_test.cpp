// Tests the simulated cuBLAS against reference loops, and its rules.
#include <cublas_v2.h>

#include <algorithm>

#include "libraries_fixture.h"

namespace simulated {
namespace {

class Cublas : public Libraries {
 protected:
  void SetUp() override {
    Libraries::SetUp();
    stream_ = stream();
    ASSERT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasSetStream(handle_, stream_), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasSetMathMode(handle_, CUBLAS_PEDANTIC_MATH), CUBLAS_STATUS_SUCCESS);
    workspace_ = device<char>(kWorkspace);
    ASSERT_EQ(cublasSetWorkspace(handle_, workspace_, kWorkspace), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    cublasDestroy(handle_);
    Libraries::TearDown();
  }

  static cublasOperation_t op(bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

  cublasStatus_t multiply(const Shape& s, cublasComputeType_t compute, cudaDataType operands, cudaDataType result,
                          double alpha, const void* a, const void* b, double beta, void* c) {
    const auto alpha_f = static_cast<float>(alpha), beta_f = static_cast<float>(beta);
    const bool f64 = operands == CUDA_R_64F;
    return cublasGemmEx_64(handle_, op(s.transpose_a), op(s.transpose_b), s.m, s.n, s.k,
                           f64 ? static_cast<const void*>(&alpha) : &alpha_f, a, operands, s.lda(), b, operands,
                           s.ldb(), f64 ? static_cast<const void*>(&beta) : &beta_f, c, result, s.ldc(), compute,
                           CUBLAS_GEMM_DEFAULT);
  }

  void check(const Shape& s, cublasComputeType_t compute, cudaDataType operands, cudaDataType result, double alpha,
             double beta, bool tf32 = false) {
    const auto a = random(s.size_a(), 1), b = random(s.size_b(), 2), c = random(s.size_c(), 3);
    void* const to = upload(c, result);
    ASSERT_EQ(multiply(s, compute, operands, result, alpha, upload(a, operands), upload(b, operands), beta, to),
              CUBLAS_STATUS_SUCCESS);
    const auto got = download(to, s.size_c(), result);
    const auto product = naive_product(s, a, b, operands, tf32);
    for (std::int64_t j = 0; j < s.n; ++j) {
      for (std::int64_t i = 0; i < s.ldc(); ++i) {
        const double before = at(c, j * s.ldc() + i, result), value = got[static_cast<std::size_t>(j * s.ldc() + i)];
        if (i >= s.m) {
          ASSERT_EQ(value, before) << "a gap was written";
          continue;
        }
        const double expected = alpha * product[static_cast<std::size_t>(j * s.m + i)] + beta * before;
        ASSERT_NEAR(value, expected, tolerance(s.k, result)) << i << " " << j;
      }
    }
    EXPECT_EQ(fault(), "");
  }

  static constexpr std::size_t kWorkspace = 1 << 20;
  cublasHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  char* workspace_ = nullptr;
};

constexpr Shape kShapes[] = {{1, 1, 1},
                             {17, 7, 5, false, false, 3, 2, 1},
                             {33, 13, 40, true, false, 0, 5, 0},
                             {5, 64, 300, false, true, 1, 0, 4},
                             {16, 6, 64, true, true, 2, 3, 2},
                             {10, 1, 257, false, true}};

TEST_F(Cublas, MultipliesF64) {
  for (const Shape& s : kShapes) check(s, CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, 0.75, -0.5);
}
TEST_F(Cublas, MultipliesF32) {
  for (const Shape& s : kShapes) check(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 0.75, -0.5);
}
TEST_F(Cublas, MultipliesBf16IntoBoth) {
  for (const Shape& s : kShapes) check(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, 0.75, -0.5);
  for (const Shape& s : kShapes) check(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, 0.75, -0.5);
}
TEST_F(Cublas, MultipliesTf32) {
  for (const Shape& s : kShapes) check(s, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, 1, 1, true);
}

// TF32 has 10 mantissa bits: 1 + 2^-11 is halfway and rounds to 1, 1 + 3 2^-11 rounds to 1 + 2^-9.
TEST_F(Cublas, Tf32RoundsToEvenAtTenBits) {
  const float half = 1.0F / 2048;
  const Shape s{2, 1, 1};
  void* const a = upload({1 + half, 1 + 3 * half}, CUDA_R_32F);
  void *const one = upload({1}, CUDA_R_32F), *const c = uninitialized(2, CUDA_R_32F);
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, 1, a, one, 0, c), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(c, 2, CUDA_R_32F), (std::vector<double>{1, 1 + 4 * half}));
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, one, 0, c), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(c, 2, CUDA_R_32F), (std::vector<double>{1 + half, 1 + 3 * half}));
  for (const int flag : {0, static_cast<int>(CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)}) {
    const auto mode = static_cast<cublasMath_t>(CUBLAS_TF32_TENSOR_OP_MATH | flag);
    ASSERT_EQ(cublasSetMathMode(handle_, mode), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, one, 0, c), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(download(c, 2, CUDA_R_32F), (std::vector<double>{1, 1 + 4 * half})) << flag;
  }
}

// bf16 has 8 bits of precision: 1 + 2^-8 is halfway and rounds to 1, 1 + 3 2^-8 rounds to 1 + 2^-6.
TEST_F(Cublas, Bf16RoundsToEven) {
  const float half = 1.0F / 256;
  const Shape s{2, 1, 2};
  void* const a = upload({1, 1, half, 3 * half}, CUDA_R_16BF);
  void *const ones = upload({1, 1}, CUDA_R_16BF), *const c = uninitialized(2, CUDA_R_16BF);
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, 1, a, ones, 0, c), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(c, 2, CUDA_R_16BF), (std::vector<double>{1, 1 + 4 * half}));
}

TEST_F(Cublas, BatchesByStride) {
  const Shape s{5, 3, 7, true, false};
  const std::int64_t batch = 4, more = 2;
  const auto a = random(batch * (s.size_a() + more), 1), b = random(batch * s.size_b(), 2);
  const float alpha = 1, beta = 0;
  void* const c = uninitialized(batch * s.size_c(), CUDA_R_32F);
  ASSERT_EQ(cublasGemmStridedBatchedEx_64(handle_, CUBLAS_OP_T, CUBLAS_OP_N, s.m, s.n, s.k, &alpha,
                                          upload(a, CUDA_R_32F), CUDA_R_32F, s.lda(), s.size_a() + more,
                                          upload(b, CUDA_R_32F), CUDA_R_32F, s.ldb(), s.size_b(), &beta, c, CUDA_R_32F,
                                          s.ldc(), s.size_c(), batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            CUBLAS_STATUS_SUCCESS);
  const auto got = download(c, batch * s.size_c(), CUDA_R_32F);
  for (std::int64_t z = 0; z < batch; ++z) {
    const auto expected = naive_product(s, a, b, CUDA_R_32F, false, z * (s.size_a() + more), z * s.size_b());
    for (std::size_t e = 0; e < expected.size(); ++e) {
      EXPECT_NEAR(got[static_cast<std::size_t>(z * s.size_c()) + e], expected[e], tolerance(s.k, CUDA_R_32F));
    }
  }
}

TEST_F(Cublas, ReadsCOnlyWithBeta) {
  const Shape s{4, 4, 4};
  void *const a = upload(random(16, 1), CUDA_R_32F), *const b = upload(random(16, 2), CUDA_R_32F);
  void* const never_written = uninitialized(16, CUDA_R_32F);
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, b, 0, never_written), CUBLAS_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(fault(), "");
  multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, b, 1, uninitialized(16, CUDA_R_32F));
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_NE(fault().find("cublasGemmEx 4x4x4 f32: C"), std::string::npos) << fault();
}

TEST_F(Cublas, OperandsThatNobodyWroteAreFaults) {
  const Shape s{4, 4, 4};
  void* const b = upload(random(16, 2), CUDA_R_32F);
  multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, uninitialized(16, CUDA_R_32F), b, 0,
           uninitialized(16, CUDA_R_32F));
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_NE(fault().find(": A"), std::string::npos) << fault();
}

TEST_F(Cublas, MatricesThatEndPastTheirMemoryAreFaults) {
  const Shape s{4, 4, 4};
  void *const a = upload(random(15, 1), CUDA_R_32F), *const b = upload(random(16, 2), CUDA_R_32F);
  multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, b, 0, uninitialized(16, CUDA_R_32F));
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(Cublas, RefusesInvalidArguments) {
  void* const memory = upload(random(64, 1), CUDA_R_32F);
  void* const c = uninitialized(64, CUDA_R_32F);
  const auto with = [&](auto change) {
    std::int64_t m = 4, n = 4, k = 4, lda = 4, ldb = 4, ldc = 4;
    const void *a = memory, *b = memory;
    void* to = c;
    const float one = 1;
    const float *alpha = &one, *beta = &one;
    auto op_a = CUBLAS_OP_N;
    change(m, n, k, lda, ldb, ldc, a, b, to, alpha, beta, op_a);
    return cublasGemmEx_64(handle_, op_a, CUBLAS_OP_N, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta, to,
                           CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  };
#define WITH(change)                                                                                                  \
  with([&](auto& m, auto& n, auto& k, auto& lda, auto& ldb, auto& ldc, auto& a, auto& b, auto& to, auto& alpha,       \
           auto& beta, auto& op_a) {                                                                                  \
    static_cast<void>(m), static_cast<void>(n), static_cast<void>(k), static_cast<void>(lda), static_cast<void>(ldb), \
        static_cast<void>(ldc), static_cast<void>(a), static_cast<void>(b), static_cast<void>(to),                    \
        static_cast<void>(alpha), static_cast<void>(beta), static_cast<void>(op_a);                                   \
    change;                                                                                                           \
  })
  EXPECT_EQ(WITH(m = -1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(n = -1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(k = -1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(lda = 3), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(ldb = 3), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(ldc = 3), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(a = nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(b = nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(to = nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(alpha = nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(beta = nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH(op_a = CUBLAS_OP_CONJG), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(WITH((m = 0, to = nullptr)), CUBLAS_STATUS_SUCCESS) << "nothing to do";
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(WITH(to = memory), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_NE(fault().find("overlap of C and an operand"), std::string::npos) << fault();
  recover();
#undef WITH
}

TEST_F(Cublas, OverlapsWithinABatchAreFaults) {
  void* const a = upload(random(32, 1), CUDA_R_32F);
  void* const c = uninitialized(32, CUDA_R_32F);
  const float alpha = 1, beta = 0;
  const auto multiply_by = [&](std::int64_t stride_c) {
    return cublasGemmStridedBatchedEx_64(handle_, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &alpha, a, CUDA_R_32F, 4, 16, a,
                                         CUDA_R_32F, 4, 16, &beta, c, CUDA_R_32F, 4, stride_c, 2, CUBLAS_COMPUTE_32F,
                                         CUBLAS_GEMM_DEFAULT);
  };
  EXPECT_EQ(multiply_by(16), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply_by(15), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_NE(fault().find("overlap of matrices of C"), std::string::npos) << fault();
  recover();
}

TEST_F(Cublas, RefusesTypesOutsideTheTable) {
  const Shape s{4, 4, 4};
  void *const a = upload(random(16, 1), CUDA_R_64F), *const c = uninitialized(16, CUDA_R_64F);
  const auto status = [&](cublasComputeType_t compute, cudaDataType operands, cudaDataType result) {
    return multiply(s, compute, operands, result, 1, a, a, 0, c);
  };
  EXPECT_EQ(status(CUBLAS_COMPUTE_32F, CUDA_R_64F, CUDA_R_64F), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(status(CUBLAS_COMPUTE_64F, CUDA_R_32F, CUDA_R_32F), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(status(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16BF), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(status(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_16BF, CUDA_R_16BF), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(status(CUBLAS_COMPUTE_16F, CUDA_R_16F, CUDA_R_16F), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(Cublas, OverwritesItsWorkspace) {
  const Shape s{8, 8, 64};
  ok(cudaMemset(workspace_, 0, kWorkspace));
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, upload(random(512, 1), CUDA_R_32F),
                     upload(random(512, 2), CUDA_R_32F), 0, uninitialized(64, CUDA_R_32F)),
            CUBLAS_STATUS_SUCCESS);
  const auto bytes = download_bytes(workspace_, 256);
  EXPECT_NE(std::count(bytes.begin(), bytes.end(), 0), 256);
}

TEST_F(Cublas, WorkspacesAreAligned) {
  EXPECT_EQ(cublasSetWorkspace(handle_, workspace_ + 128, 1024), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSetWorkspace(handle_, nullptr, 1024), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSetWorkspace(handle_, nullptr, 0), CUBLAS_STATUS_SUCCESS);
}

// "Results Reproducibility": results are reproducible with a workspace set by the user.
TEST_F(Cublas, SameBitsOnlyWithAWorkspaceOfOnesOwn) {
  const Shape s{8, 8, 200};
  void *const a = upload(random(1600, 1), CUDA_R_32F), *const b = upload(random(1600, 2), CUDA_R_32F);
  void* const c = uninitialized(64, CUDA_R_32F);
  const auto run = [&] {
    EXPECT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, b, 0, c), CUBLAS_STATUS_SUCCESS);
    return download_bytes(c, 256);
  };
  const auto first = run();
  EXPECT_EQ(run(), first);
  EXPECT_EQ(run(), first);
  ASSERT_EQ(cublasSetStream(handle_, stream_), CUBLAS_STATUS_SUCCESS);  // resets to the library's own workspace
  const auto one = run(), two = run();
  EXPECT_NE(one, two);
}

// 256 + 0.75 in the first half of k, 0.75 in the second: a bf16 partial sum of 256.75 rounds to 256, but the full sum
// 257.5 rounds to 258.
TEST_F(Cublas, PartsAreAddedInF32OnlyInPedanticMath) {
  std::vector<float> a(64, 0);
  a[0] = 256;
  a[1] = a[63] = 0.75F;
  const Shape s{1, 1, 64};
  void *const from = upload(a, CUDA_R_16BF), *const ones = upload(std::vector<float>(64, 1), CUDA_R_16BF);
  void* const c = uninitialized(1, CUDA_R_16BF);
  multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, 1, from, ones, 0, c);
  EXPECT_EQ(download(c, 1, CUDA_R_16BF)[0], 258);
  ASSERT_EQ(cublasSetMathMode(handle_, CUBLAS_DEFAULT_MATH), CUBLAS_STATUS_SUCCESS);
  multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, 1, from, ones, 0, c);
  EXPECT_EQ(download(c, 1, CUDA_R_16BF)[0], 256);
}

TEST_F(Cublas, HandlesEndAndCallsFailOnDemand) {
  const Shape s{4, 4, 4};
  void *const a = upload(random(16, 1), CUDA_R_32F), *const c = uninitialized(16, CUDA_R_32F);
  const auto run = [&] { return multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, 1, a, a, 0, c); };
  fail("cublasGemmEx", CUBLAS_STATUS_INTERNAL_ERROR);
  EXPECT_EQ(run(), CUBLAS_STATUS_INTERNAL_ERROR);
  EXPECT_EQ(run(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(calls_of("cublasGemmEx"), 2);
  fail("cublasCreate", CUBLAS_STATUS_ALLOC_FAILED);
  cublasHandle_t other = nullptr;
  EXPECT_EQ(cublasCreate(&other), CUBLAS_STATUS_ALLOC_FAILED);
  ASSERT_EQ(cublasCreate(&other), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasDestroy(other), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasSetStream(other, stream_), CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_STREQ(cublasGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED), "CUBLAS_STATUS_NOT_SUPPORTED");
}

TEST_F(Cublas, SaysWhatItDid) {
  const Shape s{4, 5, 6};
  void *const a = upload(random(24, 1), CUDA_R_16BF), *const b = upload(random(30, 2), CUDA_R_16BF);
  record_work(true);
  take_work();
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, 1, a, b, 0, uninitialized(20, CUDA_R_32F)),
            CUBLAS_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  const auto work = take_work();
  ASSERT_EQ(work.size(), 1U);
  EXPECT_EQ(work[0].kind, WorkKind::library);
  EXPECT_EQ(work[0].name, "cublasGemmEx 4x5x6 bf16>f32");
  EXPECT_EQ(work[0].flops, 240U);
  EXPECT_EQ(work[0].flops_f64, 0U);
  EXPECT_EQ(work[0].bytes, 2U * (24 + 30) + 4U * 20);
  void *const a64 = upload(random(24, 1), CUDA_R_64F), *const b64 = upload(random(30, 2), CUDA_R_64F);
  take_work();
  ASSERT_EQ(multiply(s, CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, 1, a64, b64, 0, uninitialized(20, CUDA_R_64F)),
            CUBLAS_STATUS_SUCCESS);
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(take_work().at(0).flops_f64, 240U);
}

}  // namespace
}  // namespace simulated
