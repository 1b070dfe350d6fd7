// Tests copies and memsets. Source: CUDA Runtime API, "API synchronization behavior", cudaMemcpy and cudaMemcpyAsync.
#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeCopies = Runtime;
constexpr auto kToDevice = cudaMemcpyHostToDevice;
constexpr auto kToHost = cudaMemcpyDeviceToHost;
constexpr auto kWithin = cudaMemcpyDeviceToDevice;

TEST_F(RuntimeCopies, PageableSourceMayBeChangedAtOnce) {
  auto* const on_device = device<int>(1);
  int value = 1;
  ok(cudaMemcpyAsync(on_device, &value, sizeof value, kToDevice, stream()));
  value = 2;
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(read(on_device), 1);
}

// Exposes a typical bug: a staging buffer is refilled before the copy from it has run.
TEST_F(RuntimeCopies, PinnedSourceIsReadWhenTheCopyRuns) {
  auto* const on_device = device<int>(2);
  auto* const staging = pinned<int>(1, 1);
  const cudaStream_t s = stream();
  ok(cudaMemcpyAsync(on_device, staging, sizeof(int), kToDevice, s));
  *staging = 2;
  ok(cudaMemcpyAsync(on_device + 1, staging, sizeof(int), kToDevice, s));
  ok(cudaStreamSynchronize(s));
  EXPECT_EQ(read(on_device), 2);
}

TEST_F(RuntimeCopies, PinnedTargetIsGarbageUntilTheCopyHasRun) {
  auto* const on_device = device<int>(1);
  auto* const arrived = pinned<int>(1, 3);
  const cudaStream_t s = stream();
  write(on_device, 7);
  ok(cudaMemcpyAsync(arrived, on_device, sizeof(int), kToHost, s));
  EXPECT_EQ(*arrived, -1);
  ok(cudaStreamSynchronize(s));
  EXPECT_EQ(*arrived, 7);
}

// The target is not poisoned while an earlier queued copy still has to read it.
TEST_F(RuntimeCopies, PinnedMemoryThereAndBack) {
  auto* const on_device = device<int>(2);
  auto* const buffer = pinned<int>(1, 5);
  const cudaStream_t s = stream();
  write(on_device + 1, 6);
  ok(cudaMemcpyAsync(on_device, buffer, sizeof(int), kToDevice, s));
  ok(cudaMemcpyAsync(buffer, on_device + 1, sizeof(int), kToHost, s));
  ok(cudaStreamSynchronize(s));
  EXPECT_EQ(read(on_device), 5);
  EXPECT_EQ(*buffer, 6);
}

// "For transfers from device memory to pageable host memory, the function will return only once the copy has
// completed."
TEST_F(RuntimeCopies, ToPageableMemoryWaits) {
  auto* const on_device = device<int>(1);
  int value = 0;
  const cudaStream_t s = stream();
  ok(cudaMemsetAsync(on_device, 1, sizeof(int), s));
  ok(cudaMemcpyAsync(&value, on_device, sizeof value, kToHost, s));
  EXPECT_EQ(value, 0x01010101);
}

// cudaMemcpy waits for copies between host and device, including those from pinned memory, but not "for transfers from
// device memory to device memory"; cudaMemset does not wait either.
TEST_F(RuntimeCopies, WhatTheSynchronousOnesWaitFor) {
  auto* const on_device = device<char>(8);
  auto* const locked = pinned<char>(4, 1);
  char pageable[4] = {};
  record_work(true);
  ok(cudaMemcpy(on_device, locked, 4, kToDevice));
  EXPECT_EQ(what_ran(), "copy to the device 4");
  ok(cudaMemcpy(on_device + 4, on_device, 4, kWithin));
  ok(cudaMemset(on_device, 2, 2));
  ok(cudaMemcpy(on_device, pageable, 1, kToDevice));
  EXPECT_EQ(what_ran(), "");
  ok(cudaMemcpy(locked, on_device, 1, kToHost));
  EXPECT_EQ(what_ran(), "copy within the device 8, memset 2, copy to the device 1, copy to the host 1");
  ok(cudaMemcpy(locked, pageable, 4, cudaMemcpyHostToHost));
  EXPECT_EQ(locked[3], 0);
}

TEST_F(RuntimeCopies, TheKindMustFitThePointers) {
  auto* const on_device = device<int>(2);
  int host = 1, other = 0;
  const cudaStream_t s = stream();
  for (const cudaMemcpyKind kind : {kToHost, kWithin, cudaMemcpyHostToHost}) {
    EXPECT_EQ(cudaMemcpyAsync(on_device, &host, 4, kind, s), cudaErrorInvalidValue);
  }
  for (const cudaMemcpyKind kind : {kToDevice, kWithin, cudaMemcpyHostToHost}) {
    EXPECT_EQ(cudaMemcpyAsync(&host, on_device, 4, kind, s), cudaErrorInvalidValue);
  }
  EXPECT_EQ(cudaMemcpyAsync(&host, &other, 4, kWithin, s), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(on_device, on_device + 1, 4, kToDevice, s), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(on_device, &host, 4, static_cast<cudaMemcpyKind>(7)), cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(fault(), "");  // refused before anything was queued
  ok(cudaMemcpy(on_device, &host, 4, cudaMemcpyDefault));
  ok(cudaMemcpy(on_device + 1, on_device, 4, cudaMemcpyDefault));
  ok(cudaMemcpy(&other, on_device + 1, 4, cudaMemcpyDefault));
  EXPECT_EQ(other, 1);
}

TEST_F(RuntimeCopies, BoundsOfAnAllocation) {
  auto* const on_device = device<char>(8);
  char host[16] = {};
  EXPECT_EQ(cudaMemcpy(on_device, host, 9, kToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(on_device - 1, host, 4, kToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, on_device + 1, 8, kToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(on_device + 8, 0, 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(host, 0, 1, stream()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  ok(cudaMemcpy(on_device, host, 8, kToDevice));
  ok(cudaMemcpy(nullptr, nullptr, 0, kToDevice));
  ok(cudaMemset(nullptr, 0, 0));
}

TEST_F(RuntimeCopies, AreasMayNotOverlap) {
  auto* const on_device = device<char>(8);
  ok(cudaMemset(on_device, 1, 8));
  EXPECT_EQ(cudaMemcpy(on_device + 3, on_device, 4, kWithin), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(on_device, on_device + 3, 4, kWithin), cudaErrorInvalidValue);
  ok(cudaMemcpy(on_device + 4, on_device, 4, kWithin));
}

TEST_F(RuntimeCopies, WithinTheDeviceWhatNobodyWroteStaysSo) {
  auto* const from = device<char>(4);
  auto* const to = device<char>(4);
  ok(cudaMemset(from, 5, 2));
  ok(cudaMemset(to, 6, 4));
  ok(cudaMemcpy(to, from, 4, kWithin));
  EXPECT_EQ(read(to + 1), 5);
  char byte = 0;
  EXPECT_EQ(cudaMemcpy(&byte, to + 2, 1, kToHost), cudaErrorIllegalAddress);
}

TEST_F(RuntimeCopies, PinnedMemoryFreedBeforeAGraphRuns) {
  auto* const on_device = device<char>(1);
  void* staging = nullptr;
  ok(cudaMallocHost(&staging, 1));
  const cudaStream_t s = stream();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
  ok(cudaMemcpyAsync(on_device, staging, 1, kToDevice, s));
  ok(cudaStreamEndCapture(s, &graph));
  ok(cudaGraphInstantiate(&executable, graph, 0));
  ok(cudaFreeHost(staging));
  ok(cudaGraphLaunch(executable, s));
  EXPECT_EQ(cudaStreamSynchronize(s), cudaErrorIllegalAddress);
  EXPECT_NE(fault().find("pinned memory of the host was freed"), std::string::npos) << fault();
}

// cudaFreeHost waits for queued copies that use the memory.
TEST_F(RuntimeCopies, FreeOfPinnedMemoryWaits) {
  auto* const on_device = device<char>(1);
  void* staging = nullptr;
  ok(cudaMallocHost(&staging, 1));
  *static_cast<char*>(staging) = 4;
  ok(cudaMemcpyAsync(on_device, staging, 1, kToDevice, stream()));
  ok(cudaFreeHost(staging));
  EXPECT_EQ(read(on_device), 4);
}

}  // namespace
}  // namespace simulated
