// Tests which code of a fat binary a device runs. Source: CUDA C++ Programming Guide, "Binary Compatibility", "PTX
// Compatibility" and "Feature Availability".
#include <csignal>

#include "runtime_fixture.h"
#include "runtime_module.h"

namespace simulated {
namespace {

using RuntimeFatBinary = Runtime;
using RuntimeFatBinaryDeathTest = Runtime;

char kernel;

// The target of the code that a device of this capability runs, or the launch error, negated.
int target_for(int capability) {
  settings().capability = capability;
  cudaFuncAttributes a;
  const cudaError_t status = cudaFuncGetAttributes(&a, &kernel);
  return status == cudaSuccess ? a.ptxVersion : -static_cast<int>(status);
}

FatEntry ptx_for(const std::string& target) { return {1, header_of(target) + store_kernel("k")}; }

TEST_F(RuntimeFatBinary, TheHighestTargetNotAboveTheCapability) {
  FatBinary binary({ptx_for("sm_80"), {2, "machine code of sm_120"}, ptx_for("sm_90"), ptx_for("sm_75")});
  binary.add_function(&kernel, "k");
  constexpr int kNone = -static_cast<int>(cudaErrorNoKernelImageForDevice);
  EXPECT_EQ(target_for(70), kNone);
  EXPECT_EQ(target_for(75), 75);
  EXPECT_EQ(target_for(79), 75);
  EXPECT_EQ(target_for(80), 80);
  EXPECT_EQ(target_for(89), 80);
  EXPECT_EQ(target_for(90), 90);
  EXPECT_EQ(target_for(120), 90);
  EXPECT_EQ(target_for(70), kNone);  // settings may change while the program runs
}

TEST_F(RuntimeFatBinary, CodeForOneArchitectureAlone) {
  FatBinary binary({ptx_for("sm_80"), ptx_for("sm_90a")});
  binary.add_function(&kernel, "k");
  EXPECT_EQ(target_for(90), 90);
  EXPECT_EQ(target_for(100), 80);
}

TEST_F(RuntimeFatBinary, CodeForAFamily) {
  FatBinary binary({ptx_for("sm_80"), ptx_for("sm_100f")});
  binary.add_function(&kernel, "k");
  EXPECT_EQ(target_for(103), 100);
  EXPECT_EQ(target_for(120), 80);
}

TEST_F(RuntimeFatBinary, MachineCodeIsNotEnough) {
  FatBinary binary({{2, "machine code", true}});
  binary.add_function(&kernel, "k");
  EXPECT_EQ(target_for(90), -static_cast<int>(cudaErrorNoKernelImageForDevice));
}

TEST_F(RuntimeFatBinary, UnknownInstructionsAreRefusedByName) {
  FatBinary binary({{1, header_of("sm_80") + store_kernel("k", "", "frobnicate.u32 %r1, %r2;\n")}});
  binary.add_function(&kernel, "k");
  testing::internal::CaptureStderr();
  EXPECT_EQ(target_for(90), -static_cast<int>(cudaErrorInvalidPtx));
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("frobnicate"), std::string::npos) << text;
}

TEST_F(RuntimeFatBinary, GoneWhenTheProgramsPartIs) {
  {
    FatBinary binary({ptx_for("sm_80")});
    binary.add_function(&kernel, "k");
    EXPECT_EQ(target_for(90), 80);
  }
  EXPECT_EQ(target_for(90), -static_cast<int>(cudaErrorInvalidDeviceFunction));
}

// Queued work still runs after its module is unregistered.
TEST_F(RuntimeFatBinary, GoneWhileItsKernelIsQueued) {
  auto* data = device<unsigned>(1);
  unsigned value = 4;
  void* arguments[] = {&data, &value};
  {
    FatBinary binary({ptx_for("sm_80")});
    binary.add_function(&kernel, "k");
    ok(cudaLaunchKernel(&kernel, 1, 1, arguments, 0, nullptr));
  }
  EXPECT_EQ(read(data), 4u);
}

// nvcc --compress-mode=size writes zstd, and speed LZ4, which begins with uncompressed text.
TEST_F(RuntimeFatBinaryDeathTest, CompressedPtxIsRefused) {
  for (const std::string& payload : {std::string("\x28\xB5\x2F\xFD"), "\x13\n" + ptx_for("sm_80").payload}) {
    FatBinary binary({{1, payload, true}});
    EXPECT_EXIT(binary.add(), testing::KilledBySignal(SIGABRT), "compile with nvcc -no-compress");
  }
}

TEST_F(RuntimeFatBinaryDeathTest, WhatIsNoPtx) {
  FatBinary binary({{1, "something else"}});
  EXPECT_EXIT(binary.add(), testing::KilledBySignal(SIGABRT), "an entry of a fat binary is not PTX");
}

TEST_F(RuntimeFatBinaryDeathTest, UnknownContainers) {
  struct {
    std::uint32_t magic = 1, version = 1;
    const char* data = nullptr;
    void* file = nullptr;
  } wrapper;
  EXPECT_EXIT(__cudaRegisterFatBinary(&wrapper), testing::KilledBySignal(SIGABRT), "a fat binary of unknown kind");
}

}  // namespace
}  // namespace simulated
