// Tests devices, their properties, and multiple devices. Source: CUDA Runtime API, "Device Management"; CUDA C++
// Programming Guide, "Multi-Device System" and "Compute Capabilities".
#include <thread>

#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeDevices = Runtime;

int attribute(cudaDeviceAttr which) {
  int value = -1;
  ok(cudaDeviceGetAttribute(&value, which, 0));
  return value;
}

TEST_F(RuntimeDevices, NoDevice) {
  settings().devices = 0;
  int count = -1, version = 0;
  void* block = nullptr;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  EXPECT_EQ(cudaMalloc(&block, 1), cudaErrorNoDevice);
  EXPECT_EQ(cudaSetDevice(0), cudaErrorNoDevice);
  EXPECT_EQ(cudaGetDevice(&count), cudaErrorNoDevice);
  ok(cudaRuntimeGetVersion(&version));
  EXPECT_EQ(version, CUDART_VERSION);
  ok(cudaDriverGetVersion(&version));
  EXPECT_EQ(version, CUDART_VERSION);
}

TEST_F(RuntimeDevices, PropertiesAreTheSettings) {
  settings().capability = 86;
  settings().multiprocessors = 7;
  settings().memory = 12345;
  EXPECT_EQ(attribute(cudaDevAttrComputeCapabilityMajor), 8);
  EXPECT_EQ(attribute(cudaDevAttrComputeCapabilityMinor), 6);
  EXPECT_EQ(attribute(cudaDevAttrMultiProcessorCount), 7);
  cudaDeviceProp p;
  ok(cudaGetDeviceProperties(&p, 0));
  EXPECT_STREQ(p.name, "simulated device");
  EXPECT_EQ(p.major, 8);
  EXPECT_EQ(p.minor, 6);
  EXPECT_EQ(p.multiProcessorCount, 7);
  EXPECT_EQ(p.totalGlobalMem, 12345u);
  EXPECT_EQ(cudaGetDeviceProperties(&p, 1), cudaErrorInvalidDevice);
}

// The table "Technical Specifications per Compute Capability".
TEST_F(RuntimeDevices, LimitsOfCapabilities) {
  struct Row {
    int capability, threads, blocks, shared_kilobytes, optin_kilobytes, reserved_kilobytes = 1;
  };
  for (const Row& row : {Row{75, 1024, 16, 64, 64, 0}, Row{80, 2048, 32, 164, 163}, Row{86, 1536, 16, 100, 99},
                         Row{89, 1536, 24, 100, 99}, Row{90, 2048, 32, 228, 227}, Row{100, 2048, 32, 228, 227},
                         Row{120, 1536, 24, 100, 99}}) {
    settings().capability = row.capability;
    SCOPED_TRACE(row.capability);
    EXPECT_EQ(attribute(cudaDevAttrMaxThreadsPerMultiProcessor), row.threads);
    EXPECT_EQ(attribute(cudaDevAttrMaxBlocksPerMultiprocessor), row.blocks);
    EXPECT_EQ(attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor), row.shared_kilobytes * 1024);
    EXPECT_EQ(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin), row.optin_kilobytes * 1024);
    EXPECT_EQ(attribute(cudaDevAttrReservedSharedMemoryPerBlock), row.reserved_kilobytes * 1024);
  }
}

TEST_F(RuntimeDevices, AttributesThatAreNotSimulated) {
  int value = 5;
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMaxTexture1DWidth, 0), cudaErrorNotSupported);
  EXPECT_EQ(value, 5);
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 1), cudaErrorInvalidDevice);
}

TEST_F(RuntimeDevices, EachThreadHasItsOwnCurrentDevice) {
  settings().devices = 2;
  ok(cudaSetDevice(1));
  int current = -1;
  std::thread([&] { ok(cudaGetDevice(&current)); }).join();
  EXPECT_EQ(current, 0);
  ok(cudaGetDevice(&current));
  EXPECT_EQ(current, 1);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
}

TEST_F(RuntimeDevices, MemoryOfEach) {
  settings().devices = 2;
  settings().memory = 100;
  auto* const first = device<char>(100);
  ok(cudaSetDevice(1));
  auto* const second = device<char>(60);
  std::size_t free = 0, total = 0;
  ok(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(free, 40u);
  cudaPointerAttributes attributes;
  ok(cudaPointerGetAttributes(&attributes, first));
  EXPECT_EQ(attributes.device, 0);
  ok(cudaPointerGetAttributes(&attributes, second));
  EXPECT_EQ(attributes.device, 1);
  ok(cudaSetDevice(0));
}

TEST_F(RuntimeDevices, SynchronizeIsForTheCurrentDevice) {
  settings().devices = 2;
  auto* const data = device<char>(4);
  record_work(true);
  ok(cudaMemsetAsync(data, 1, 1, stream()));
  ok(cudaSetDevice(1));
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(what_ran(), "");
  ok(cudaSetDevice(0));
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(what_ran(), "memset 1");
}

// "A memory copy will succeed even if it is issued to a stream that is not associated to the current device.
// cudaEventRecord() will fail if the input event and input stream are associated to different devices.
// cudaStreamWaitEvent() will succeed."
TEST_F(RuntimeDevices, StreamsAndEventsOfAnotherDevice) {
  settings().devices = 2;
  auto* const data = device<char>(4);
  const cudaStream_t first = stream();
  const cudaEvent_t e = event();
  ok(cudaSetDevice(1));
  const cudaStream_t second = stream();
  ok(cudaMemcpyAsync(data, "abc", 4, cudaMemcpyHostToDevice, first));
  EXPECT_EQ(cudaEventRecord(e, second), cudaErrorInvalidResourceHandle);
  ok(cudaEventRecord(e, first));
  ok(cudaStreamWaitEvent(second, e, 0));
  record_work(true);
  ok(cudaStreamSynchronize(second));
  EXPECT_EQ(what_ran(), "copy to the device 4");
  ok(cudaSetDevice(0));
}

}  // namespace
}  // namespace simulated
