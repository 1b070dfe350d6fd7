// A failed library call is an error, both in an eager step and during capture; nothing falls back to other kernels
// silently. Runs on the simulated device, where tests can make calls fail.
#include <cublas_v2.h>
#include <cudnn.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "control.h"
#include "descent/descent.h"
#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;

// Makes one call of `function` fail with `status` while the step runs, then during capture; the step must be right
// before and after.
void expect_errors(const char* function, int status, const char* named, const std::function<Tensor()>& step) {
  SCOPED_TRACE(std::string(function) + " with status " + std::to_string(status));
  const Device device = Device::cuda();
  const std::vector<float> expected = step().to_vector<float>();
  simulated::fail(function, status);
  EXPECT_ERROR("Error", named, step());
  EXPECT_EQ(step().to_vector<float>(), expected);
  simulated::fail(function, status);
  EXPECT_ERROR("Error", named, CapturedGraph(device, [&] { step(); }));
  EXPECT_EQ(step().to_vector<float>(), expected);
  Tensor result;
  CapturedGraph capture(device, [&] { result = step(); });
  capture.replay();
  EXPECT_EQ(result.to_vector<float>(), expected);
  simulated::clear_failures();
}

TEST(DeviceFailures, OfAMatrixProduct) {
  const Tensor x = Generator(1).normal({64, 32}).to(Device::cuda()),
               w = Generator(2).normal({32, 48}).to(Device::cuda());
  for (const cublasStatus_t status :
       {CUBLAS_STATUS_EXECUTION_FAILED, CUBLAS_STATUS_NOT_SUPPORTED, CUBLAS_STATUS_INVALID_VALUE}) {
    expect_errors("cublasLtMatmul", status, "cublasLtMatmul", [&] { return matmul(x, w); });
  }
}

// The first f64 product creates cuBLAS's handle. If that fails halfway, the next product starts over and nothing leaks.
TEST(DeviceFailures, OfALibrarysHandle) {
  const Tensor x = Generator(1).normal({8, 8}, 0, 1, DType::f64).to(Device::cuda());
  simulated::reset_calls();
  simulated::fail("cublasSetMathMode", CUBLAS_STATUS_INTERNAL_ERROR);
  EXPECT_ERROR("Error", "cublasSetMathMode", matmul(x, x));
  EXPECT_EQ(matmul(x, x).shape(), x.shape());
  EXPECT_EQ(simulated::calls_of("cublasCreate"), 2);
  EXPECT_EQ(simulated::calls_of("cublasDestroy"), 1);
  simulated::clear_failures();
}

TEST(DeviceFailures, OfAConvolution) {
  if (!cudnn_unavailable_reason(Device::cuda()).empty()) GTEST_SKIP() << cudnn_unavailable_reason(Device::cuda());
  const Tensor x = Generator(1).normal({2, 8, 8, 16}).to(Device::cuda());
  const Tensor w = Generator(2).normal({32, 3, 3, 16}).to(Device::cuda());
  expect_errors("cudnnBackendExecute", CUDNN_STATUS_EXECUTION_FAILED, "cudnn", [&] { return conv2d(x, w); });
  expect_errors("cudnnSetStream", CUDNN_STATUS_MAPPING_ERROR, "cudnnSetStream", [&] { return conv2d(x, w); });
}

RunOptions with(const std::string& name, const std::string& value) {
  RunOptions options;
  options.environment = {{name, value}};
  return options;
}

TEST(DeviceFailures, InfoSaysWhatIsBuiltInAndInUse) {
  if (!cudnn_unavailable_reason(Device::cuda()).empty()) GTEST_SKIP() << cudnn_unavailable_reason(Device::cuda());
  const Ran ran = run_cli({"info", "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Json info = Json::parse(ran.out);
  EXPECT_FALSE(info["cuda_build"]["architectures"].empty());
  for (const char* library : {"cudart", "cuBLAS", "cuDNN"}) {
    EXPECT_EQ(info["cuda_build"]["libraries"][library]["built"], info["cuda_build"]["libraries"][library]["running"]);
  }
  EXPECT_EQ(info["cudnn"], true);
  const Ran without = run_cli({"info"}, with("SIMULATED_CUDNN", "off"));
  EXPECT_NE(without.out.find("cuDNN    not in use: cudnnCreate"), std::string::npos) << without.out;
}

TEST(DeviceFailures, ARunsHeaderSaysThatCudnnIsMissing) {
  if (!cudnn_unavailable_reason(Device::cuda()).empty()) GTEST_SKIP() << cudnn_unavailable_reason(Device::cuda());
  const TempDir dir;
  for (const bool there : {true, false}) {
    const Ran ran =
        run_cli({"train", "-m", "cnn", "-d", "synthetic", "--device", "cuda", "--epochs", "1", "--batch-size", "4",
                 "--limit-train", "4", "--limit-test", "4", "--out", dir / (there ? "with" : "without")},
                with("SIMULATED_CUDNN", there ? "on" : "off"));
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_NE(ran.err.find("code for compute capability"), std::string::npos) << ran.err;
    EXPECT_EQ(ran.err.find("without cuDNN: cudnnCreate") == std::string::npos, there) << ran.err;
  }
}

// The 32 MiB workspace that cuBLASLt's products share does not fit, and the message says how much is free.
TEST(DeviceFailures, AWorkspaceWithoutRoomNamesTheBytesThatAreFree) {
  const TempDir dir;
  const Ran ran = run_cli({"train", "-m", "mlp", "-d", "synthetic", "--device", "cuda", "--epochs", "1", "--batch-size",
                           "4", "--limit-train", "4", "--limit-test", "4", "--out", dir / "run"},
                          with("SIMULATED_MEMORY", "30000000"));
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_NE(ran.err.find("33554432"), std::string::npos) << ran.err;
  EXPECT_EQ(ran.err.find(" 0 bytes free"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace descent::test
