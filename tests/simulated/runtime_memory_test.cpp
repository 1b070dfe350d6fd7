// Tests device memory and pinned host memory. Source: CUDA Runtime API, "Memory Management".
#include <csignal>
#include <set>

#include "device_memory.h"
#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeMemory = Runtime;
using RuntimeMemoryDeathTest = Runtime;

// Reads and writes that the compiler cannot remove.
char touch(const volatile char* address) { return *address; }
void overwrite(volatile char* address) { *address = 1; }

TEST_F(RuntimeMemoryDeathTest, TheHostCannotTouchIt) {
  auto* const block = device<char>(1);
  EXPECT_EXIT(touch(block), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(overwrite(block), testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(RuntimeMemoryDeathTest, PinnedMemoryIsGoneWhenFreed) {
  void* block = nullptr;
  ok(cudaMallocHost(&block, 10));
  overwrite(static_cast<char*>(block));
  ok(cudaFreeHost(block));
  EXPECT_EXIT(touch(static_cast<char*>(block)), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EQ(cudaFreeHost(block), cudaErrorInvalidValue);
}

TEST_F(RuntimeMemory, OutOfMemoryAtTheSetting) {
  settings().memory = 1000;
  void *first = nullptr, *second = nullptr;
  ok(cudaMalloc(&first, 600));
  EXPECT_EQ(cudaMalloc(&second, 401), cudaErrorMemoryAllocation);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // not sticky
  EXPECT_EQ(cudaMalloc(&second, ~std::size_t{0}), cudaErrorMemoryAllocation);
  ok(cudaMalloc(&second, 400));
  std::size_t free = 1, total = 0;
  ok(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(free, 0u);
  EXPECT_EQ(total, 1000u);
  EXPECT_EQ(allocated_bytes(), 1000u);
  ok(cudaFree(first));
  ok(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(free, 600u);
  ok(cudaFree(second));
  EXPECT_EQ(allocated_bytes(), 0u);
}

TEST_F(RuntimeMemory, AddressesAreAlignedAndNeverUsedTwice) {
  std::set<void*> seen;
  for (int i = 0; i < 100; ++i) {
    void* block = nullptr;
    ok(cudaMalloc(&block, static_cast<std::size_t>(i) + 1));
    EXPECT_EQ(reinterpret_cast<std::uint64_t>(block) % 256, 0u);
    EXPECT_TRUE(seen.insert(block).second);
    ok(cudaFree(block));
  }
}

TEST_F(RuntimeMemory, FreesWhatWasAllocatedOnce) {
  auto* const block = device<char>(100);
  void* other = nullptr;
  ok(cudaMalloc(&other, 1));
  ok(cudaFree(other));
  EXPECT_EQ(cudaFree(other), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(block + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(&other), cudaErrorInvalidValue);
  ok(cudaFree(nullptr));
  void* nothing = block;
  ok(cudaMalloc(&nothing, 0));
  EXPECT_EQ(nothing, nullptr);
}

// Queued work still uses the memory, so cudaFree waits for the device first.
TEST_F(RuntimeMemory, FreeWaitsForTheDevice) {
  void* block = nullptr;
  ok(cudaMalloc(&block, 4));
  record_work(true);
  ok(cudaMemsetAsync(block, 1, 4, stream()));
  ok(cudaFree(block));
  EXPECT_EQ(what_ran(), "memset 4");
}

// The device has no memory pools (cudaDevAttrMemoryPoolsSupported).
TEST_F(RuntimeMemory, StreamOrderedMemoryIsNotSimulated) {
  void* block = nullptr;
  EXPECT_EQ(cudaMallocAsync(&block, 4, stream()), cudaErrorNotSupported);
  EXPECT_EQ(cudaFreeAsync(block, stream()), cudaErrorNotSupported);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotSupported);
}

TEST_F(RuntimeMemory, PointersAreTold) {
  cudaPointerAttributes attributes;
  auto* const block = device<char>(10);
  ok(cudaPointerGetAttributes(&attributes, block + 9));
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(attributes.device, 0);
  EXPECT_EQ(attributes.devicePointer, block + 9);
  ok(cudaPointerGetAttributes(&attributes, block + 10));
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  auto* const on_host = pinned<char>(1, 0);
  ok(cudaPointerGetAttributes(&attributes, on_host));
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(attributes.hostPointer, on_host);
  EXPECT_EQ(attributes.devicePointer, nullptr);  // kernels cannot access it
  ok(cudaPointerGetAttributes(&attributes, &attributes));
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
}

TEST_F(RuntimeMemory, HostMemoryIsNotMapped) {
  void* block = nullptr;
  EXPECT_EQ(cudaHostAlloc(&block, 4, cudaHostAllocMapped), cudaErrorNotSupported);
  EXPECT_EQ(cudaHostAlloc(&block, 4, 0x100), cudaErrorInvalidValue);
  EXPECT_EQ(block, nullptr);
}

TEST_F(RuntimeMemory, FreshMemoryIsPoisonedAndUninitialized) {
  auto* const block = device<unsigned char>(300);
  settings().uninitialized = false;
  EXPECT_EQ(read(block), 0xFF);
  EXPECT_EQ(read(block + 299), 0xFF);
  settings().uninitialized = true;
  char byte = 0;
  EXPECT_EQ(cudaMemcpy(&byte, block, 1, cudaMemcpyDeviceToHost), cudaErrorIllegalAddress);
  EXPECT_NE(fault().find("byte 0 of 1"), std::string::npos) << fault();
  EXPECT_NE(fault().find("was never written"), std::string::npos) << fault();
}

// An invalid byte is found at every offset; the search skips blocks of bytes.
TEST_F(RuntimeMemory, ShadowIsCheckedByteByByte) {
  constexpr std::uint64_t kBytes = 1200;
  DeviceMemory& memory = DeviceMemory::instance();
  std::string problem;
  for (const std::uint64_t hole : {0, 1, 255, 256, 257, 700, 1023, 1024, 1199}) {
    const auto at = reinterpret_cast<std::uint64_t>(device<char>(kBytes));
    ASSERT_NE(memory.write(at, kBytes, problem), nullptr) << problem;
    *memory.shadow(at + hole) = kAccessible;
    EXPECT_EQ(memory.read(at, kBytes, problem), nullptr);
    EXPECT_NE(problem.find("byte " + std::to_string(hole) + " of 1200"), std::string::npos) << problem;
    EXPECT_EQ(memory.read(at, hole, problem), memory.host(at));
    *memory.shadow(at + hole) = 0;
    EXPECT_EQ(memory.write(at, kBytes, problem), nullptr);
    EXPECT_NE(problem.find("is not allocated"), std::string::npos) << problem;
    *memory.shadow(at + hole) = kAccessible | kInitialized;
  }
  EXPECT_EQ(memory.read(memory.base() + memory.bytes(), 1, problem), nullptr);
  EXPECT_NE(problem.find("is not device memory"), std::string::npos);
}

// Freeing a block leaves its neighbours intact, whether they share a page with it or not.
TEST_F(RuntimeMemory, FreeLeavesTheNeighbours) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{300}, std::size_t{4096}, std::size_t{100000}}) {
    auto* const before = device<char>(bytes);
    void* middle = nullptr;
    ok(cudaMalloc(&middle, bytes));
    auto* const after = device<char>(bytes);
    ok(cudaMemset(before, 1, bytes));
    ok(cudaMemset(middle, 2, bytes));
    ok(cudaMemset(after, 3, bytes));
    ok(cudaFree(middle));
    std::vector<char> back(bytes);
    ok(cudaMemcpy(back.data(), before, bytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(back, std::vector<char>(bytes, 1));
    ok(cudaMemcpy(back.data(), after, bytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(back, std::vector<char>(bytes, 3));
    EXPECT_EQ(cudaMemset(middle, 2, bytes), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemset(static_cast<char*>(middle) + bytes - 1, 2, 1), cudaErrorInvalidValue);
  }
}

}  // namespace
}  // namespace simulated
