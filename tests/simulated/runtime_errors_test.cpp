// Tests last errors, sticky errors, and injected errors. Source: CUDA Runtime API, "Error Handling", enum cudaError.
#include <thread>

#include "ptx/kernel.h"
#include "runtime/stream.h"
#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeErrors = Runtime;

TEST_F(RuntimeErrors, TheLastErrorIsReturnedOnce) {
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(99), cudaErrorInvalidDevice);
  ok(cudaSetDevice(0));  // a success does not clear it
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(RuntimeErrors, TheLastErrorBelongsToTheThread) {
  std::thread([] { EXPECT_EQ(cudaSetDevice(99), cudaErrorInvalidDevice); }).join();
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(RuntimeErrors, AFaultStaysUntilRecovery) {
  const cudaStream_t s = stream();
  auto* const on_device = device<char>(4);
  ok(cudaMemset(on_device, 0, 4));
  ok(cudaDeviceSynchronize());
  ok(enqueue(s, {WorkKind::library, "first", [](Work&) { report_fault(cudaErrorMisalignedAddress, "a message"); }}));
  bool ran = false;
  ok(enqueue(s, {WorkKind::library, "second", [&](Work&) { ran = true; }}));
  EXPECT_EQ(cudaStreamSynchronize(s), cudaErrorMisalignedAddress);
  EXPECT_FALSE(ran);
  EXPECT_EQ(fault(), "cudaErrorMisalignedAddress: a message");
  report_fault(cudaErrorIllegalAddress, "a later one");
  EXPECT_EQ(fault(), "cudaErrorMisalignedAddress: a message");
  void* block = nullptr;
  EXPECT_EQ(cudaMalloc(&block, 1), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaFree(on_device), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaMemsetAsync(on_device, 0, 1, s), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorMisalignedAddress);
  EXPECT_EQ(enqueue(s, {}), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMisalignedAddress);
  int count = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  recover();
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(read(on_device), 0);  // memory and streams are unchanged
  ok(cudaMemsetAsync(on_device, 1, 1, s));
  EXPECT_FALSE(ran);
}

TEST_F(RuntimeErrors, RecoveryForgetsQueuedWork) {
  const cudaStream_t s = stream();
  bool ran = false;
  ok(enqueue(s, {WorkKind::library, "work", [&](Work&) { ran = true; }}));
  recover();
  ok(cudaStreamSynchronize(s));
  EXPECT_FALSE(ran);
}

TEST_F(RuntimeErrors, OneFaultIsPrintedOnce) {
  testing::internal::CaptureStderr();
  report_fault(cudaErrorIllegalAddress, "first");
  report_fault(cudaErrorIllegalAddress, "second");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "simulated CUDA: cudaErrorIllegalAddress: first\n");
  settings().verbose = true;
  testing::internal::CaptureStderr();
  report_fault(cudaErrorLaunchFailure, "third");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "simulated CUDA: cudaErrorLaunchFailure: third\n");
}

TEST_F(RuntimeErrors, ErrorsOfFaultyTasks) {
  const std::pair<ptx::FaultKind, cudaError_t> kinds[] = {
      {ptx::FaultKind::invalid_ptx, cudaErrorInvalidPtx},
      {ptx::FaultKind::illegal_address, cudaErrorIllegalAddress},
      {ptx::FaultKind::misaligned_address, cudaErrorMisalignedAddress},
      {ptx::FaultKind::race, cudaErrorLaunchFailure},
      {ptx::FaultKind::deadlock, cudaErrorLaunchFailure},
      {ptx::FaultKind::trap, cudaErrorLaunchFailure},
      {ptx::FaultKind::other, cudaErrorLaunchFailure},
  };
  for (const auto& [kind, error] : kinds) {
    ok(enqueue(nullptr, {WorkKind::kernel, "k", [kind = kind](Work&) { throw ptx::Error(kind, "the text"); }}));
    EXPECT_EQ(cudaDeviceSynchronize(), error);
    EXPECT_NE(fault().find("the text"), std::string::npos);
    recover();
  }
}

TEST_F(RuntimeErrors, CallsFailAsAsked) {
  void* block = nullptr;
  fail("cudaMalloc", cudaErrorMemoryAllocation, 2, 1);
  fail("cudaMalloc", cudaErrorUnknown);
  ok(cudaMalloc(&block, 1));
  ok(cudaFree(block));
  block = this;
  EXPECT_EQ(cudaMalloc(&block, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(block, this);  // the call did nothing
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&block, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&block, 1), cudaErrorUnknown);
  EXPECT_EQ(calls_of("cudaMalloc"), 4);
  ok(cudaMalloc(&block, 1));
  ok(cudaFree(block));
  EXPECT_EQ(calls_of("cudaMalloc"), 5);
  EXPECT_EQ(calls_of("cudaMemcpy"), 0);
  reset_calls();
  EXPECT_EQ(calls_of("cudaMalloc"), 0);
  fail("cudaMalloc", cudaErrorUnknown, 100);
  clear_failures();
  ok(cudaMalloc(&block, 1));
  ok(cudaFree(block));
}

// A call that only reports the error of an earlier kernel.
TEST_F(RuntimeErrors, AStickyErrorAskedForIsSticky) {
  for (const cudaError_t error : {cudaErrorIllegalAddress, cudaErrorContained, cudaErrorTensorMemoryLeak}) {
    fail("cudaStreamSynchronize", error);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), error);
    EXPECT_EQ(cudaDeviceSynchronize(), error);
    EXPECT_NE(fault(), "");
    recover();
  }
}

TEST_F(RuntimeErrors, FunctionsThatAreNotSimulatedSayWhich) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(cudaDeviceReset(), cudaErrorNotSupported);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "simulated CUDA: cudaDeviceReset is not simulated\n");
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotSupported);
  EXPECT_EQ(calls_of("cudaDeviceReset"), 1);
}

TEST_F(RuntimeErrors, NamesAndTexts) {
  EXPECT_STREQ(cudaGetErrorName(cudaSuccess), "cudaSuccess");
  EXPECT_STREQ(cudaGetErrorString(cudaSuccess), "no error");
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorIllegalAddress), "an illegal memory access was encountered");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorNoKernelImageForDevice),
               "no kernel image is available for execution on the device");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorStreamCaptureUnsupported),
               "operation not permitted when stream is capturing");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)), "unrecognized error code");
}

// The queue that cuBLAS and cuDNN use.
TEST_F(RuntimeErrors, DeviceMemoryForLibraries) {
  auto* const on_device = device<char>(4);
  ASSERT_NE(device_write(on_device, 4, "a library"), nullptr);
  EXPECT_NE(device_read(on_device, 4, "a library"), nullptr);
  EXPECT_EQ(device_read(on_device, 5, "a library"), nullptr);
  EXPECT_NE(fault().find("a library reads: byte 4 of 5"), std::string::npos) << fault();
}

}  // namespace
}  // namespace simulated
