// Tests calls of the simulated cublasLtMatmul: algorithms, workspaces, addresses.
#include "libraries_lt_fixture.h"

namespace simulated {
namespace {

constexpr auto kOk = CUBLAS_STATUS_SUCCESS;
constexpr auto kInvalid = CUBLAS_STATUS_INVALID_VALUE;
constexpr auto kUnsupported = CUBLAS_STATUS_NOT_SUPPORTED;

class LtCalls : public CublasLt {};

// 256.75 in one half of k and 0.75 in the other: added in bf16 it is 256, in f32 257.5, stored as 258.
TEST_F(LtCalls, ReductionsInTheOutputTypeAreTakenUnlessForbidden) {
  std::vector<float> a(64, 0);
  a[0] = 256;
  a[1] = a[63] = 0.75F;
  LtCase t;
  t.shape = {1, 1, 64};
  t.operands = t.result = CUDA_R_16BF;
  t.a = upload(a, CUDA_R_16BF);
  t.b = upload(std::vector<float>(64, 1), CUDA_R_16BF);
  t.d = uninitialized(1, CUDA_R_16BF);
  const auto with = [&](std::uint32_t mask) {
    t.reduction_mask = mask;
    EXPECT_EQ(run(t), kOk);
    return download(t.d, 1, CUDA_R_16BF)[0];
  };
  EXPECT_EQ(with(CUBLASLT_REDUCTION_SCHEME_MASK), 256);
  EXPECT_EQ(with(CUBLASLT_REDUCTION_SCHEME_INPLACE), 256);
  EXPECT_EQ(with(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE), 258);
  EXPECT_EQ(with(CUBLASLT_REDUCTION_SCHEME_NONE), 258);
}

TEST_F(LtCalls, AlgorithmsBelongToTheirProblem) {
  const LtCase t = base();
  const Prepared p = prepare(t);
  LtCase other = base();
  other.shape.transpose_b = true;
  other.shape.n = 8;
  Prepared q = prepare(other);
  q.found = p.found;
  EXPECT_EQ(run(other, q), kInvalid);
  q = prepare(other);
  EXPECT_EQ(run(other, q), kOk);
  for (auto& result : q.found) result.algo = {};
  EXPECT_EQ(run(other, q), kInvalid) << "no algorithm";
}

TEST_F(LtCalls, Workspaces) {
  const LtCase t = base();
  const Prepared p = prepare(t);
  const std::size_t needed = p.chosen()->workspaceSize;
  ASSERT_GT(needed, 0U);
  EXPECT_EQ(run(t, p, workspace_, needed), kOk);
  EXPECT_EQ(run(t, p, workspace_, needed - 1), kInvalid);
  EXPECT_EQ(run(t, p, nullptr, needed), kInvalid);
  EXPECT_EQ(run(t, p, workspace_ + 16, needed), kInvalid) << "aligned to 256 bytes";
  ok(cudaDeviceSynchronize());
  ok(cudaMemset(workspace_, 0x11, kWorkspace));
  ok(cudaDeviceSynchronize());  // a memset is asynchronous, and another stream does not wait for it
  EXPECT_EQ(run(t, p, workspace_, needed), kOk);
  const auto bytes = download_bytes(workspace_, static_cast<std::int64_t>(needed) + 256);
  for (std::size_t i = 0; i < needed + 256; i += 4) {
    const bool untouched = bytes[i] == 0x11 && bytes[i + 1] == 0x11 && bytes[i + 2] == 0x11 && bytes[i + 3] == 0x11;
    EXPECT_EQ(untouched, i >= needed) << i;
  }
}

TEST_F(LtCalls, AlgorithmsTellTheirConfiguration) {
  struct Config {
    std::uint32_t mask, scheme, splits;
  };
  for (const Config& config :
       {Config{CUBLASLT_REDUCTION_SCHEME_NONE, CUBLASLT_REDUCTION_SCHEME_NONE, 1},
        Config{CUBLASLT_REDUCTION_SCHEME_INPLACE, CUBLASLT_REDUCTION_SCHEME_INPLACE, 2},
        Config{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2},
        Config{CUBLASLT_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, 2}}) {
    LtCase t = base();
    t.reduction_mask = config.mask;
    const Prepared p = prepare(t);
    ASSERT_NE(p.chosen(), nullptr);
    const cublasLtMatmulAlgo_t* const algo = &p.chosen()->algo;
    const auto told = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) {
      std::uint32_t value = 99;
      std::size_t written = 0;
      EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(algo, attribute, nullptr, 0, &written), kOk);
      EXPECT_EQ(written, sizeof value);
      EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(algo, attribute, &value, sizeof value, &written), kOk);
      return value;
    };
    EXPECT_EQ(told(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME), config.scheme);
    EXPECT_EQ(told(CUBLASLT_ALGO_CONFIG_SPLITK_NUM), config.splits);
    EXPECT_EQ(told(CUBLASLT_ALGO_CONFIG_TILE_ID), 0U);
    EXPECT_EQ(told(CUBLASLT_ALGO_CONFIG_STAGES_ID), 0U);
    EXPECT_LT(told(CUBLASLT_ALGO_CONFIG_ID), 4U);
    std::uint64_t wide = 0;
    EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_ID, &wide, sizeof wide, nullptr),
              kInvalid);
    EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_ID, nullptr, 4, nullptr), kInvalid);
    EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, &wide, 4, nullptr),
              kUnsupported);
  }
  const cublasLtMatmulAlgo_t none{};
  std::uint32_t value = 0;
  EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(&none, CUBLASLT_ALGO_CONFIG_ID, &value, sizeof value, nullptr),
            kInvalid);
}

TEST_F(LtCalls, WorkspacesThatEndTooSoonAreFaults) {
  const LtCase t = base();
  const Prepared p = prepare(t);
  EXPECT_EQ(run(t, p, device<char>(256), p.chosen()->workspaceSize), kOk);
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_NE(fault().find("workspace"), std::string::npos) << fault();
}

TEST_F(LtCalls, OverlapsAreFaults) {
  LtCase t = base();
  const Prepared p = prepare(t);
  EXPECT_EQ(run(t, p, const_cast<void*>(t.a), p.chosen()->workspaceSize), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_NE(fault().find("workspace"), std::string::npos) << fault();
  recover();
  t.d = const_cast<void*>(t.b);
  EXPECT_EQ(run(t, p), CUBLAS_STATUS_EXECUTION_FAILED);
  recover();
  t = base();
  t.beta = 1;
  t.c = static_cast<char*>(t.d) + 64;
  EXPECT_EQ(run(t, p), CUBLAS_STATUS_EXECUTION_FAILED) << "neither in place nor out of place";
  recover();
}

TEST_F(LtCalls, LessAlignmentThanPromisedIsAFault) {
  for (int which = 0; which < 5; ++which) {
    LtCase t = base(CUBLASLT_EPILOGUE_BIAS);
    t.shape = {15, 7, 63};
    t.most_workspace = 0;
    const Prepared p = prepare(t);
    t.c = t.d;
    t.beta = 1;
    const auto moved = [](const void* address) { return static_cast<char*>(const_cast<void*>(address)) + 4; };
    if (which == 0) t.a = moved(t.a);
    if (which == 1) t.b = moved(t.b);
    if (which == 2) t.c = t.d = moved(t.d);
    if (which == 3) set(p.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(moved(t.bias)));
    const auto expected = which == 4 ? kOk : CUBLAS_STATUS_EXECUTION_FAILED;
    EXPECT_EQ(run(t, p), expected) << which;
    EXPECT_EQ(fault().empty(), which == 4) << which;
    recover();
  }
  LtCase t = base();
  t.shape = {15, 7, 63};
  t.alignment = 4;
  t.a = static_cast<const char*>(t.a) + 4;
  EXPECT_EQ(run(t), kOk) << "as promised";
}

TEST_F(LtCalls, NullArguments) {
  LtCase t = base();
  const Prepared p = prepare(t);
  t.a = nullptr;
  EXPECT_EQ(run(t, p), kInvalid);
  t = base();
  t.d = nullptr;
  EXPECT_EQ(run(t, p), kInvalid);
  cublasLtHandle_t const handle = handle_;
  handle_ = nullptr;
  EXPECT_EQ(run(base(), p), CUBLAS_STATUS_NOT_INITIALIZED);
  handle_ = handle;
}

TEST_F(LtCalls, WithoutAnAlgorithmDefaultsApply) {
  const LtCase t = base();
  Prepared p = prepare(t);
  p.found.clear();
  EXPECT_EQ(run(t, p, nullptr, 0), kOk);
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(fault(), "");
}

TEST_F(LtCalls, CallsFailOnDemand) {
  const LtCase t = base();
  const Prepared p = prepare(t);
  fail("cublasLtMatmul", CUBLAS_STATUS_NOT_SUPPORTED, 1, 1);
  EXPECT_EQ(run(t, p), kOk);
  EXPECT_EQ(run(t, p), kUnsupported);
  EXPECT_EQ(run(t, p), kOk);
  fail("cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_INTERNAL_ERROR);
  EXPECT_EQ(prepare(t).status, CUBLAS_STATUS_INTERNAL_ERROR);
  fail("cublasLtCreate", CUBLAS_STATUS_ALLOC_FAILED);
  cublasLtHandle_t handle = nullptr;
  EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_ALLOC_FAILED);
}

}  // namespace
}  // namespace simulated
