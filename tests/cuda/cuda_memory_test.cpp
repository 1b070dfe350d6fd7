// CUDA memory across captures, and copies through pinned buffers. The memory that replays use stays reserved until
// their capture is destroyed, and can be reused afterwards.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "descent/captured_graph.h"
#include "descent/descent.h"
#include "support/backend_test.h"
#include "support/cuda_buffer.h"
#if defined(DESCENT_SIMULATED)
#include <driver_types.h>

#include "control.h"
#endif

namespace descent {
namespace {

constexpr std::int64_t kNumbers = 1000;
constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;

class CudaMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    DESCENT_NEEDS_CUDA();
    empty_cache(device);
    before = memory_info(device);
  }
  Tensor numbers(double value) const { return Tensor::full({kNumbers}, value, DType::f32, device); }
  // Everything that a test allocated is freed and can be returned to the driver.
  void expect_nothing_left() const {
    EXPECT_EQ(memory_info(device).bytes_in_use, before.bytes_in_use);
    empty_cache(device);
    EXPECT_EQ(memory_info(device).bytes_cached, 0U);
  }

  const Device device = Device::cuda();
  MemoryInfo before = {};
};

// Tensors of the size that a capture works with, created after it: replays must not change them.
class Bystanders {
 public:
  explicit Bystanders(Device device) {
    for (int i = 0; i < 20; ++i) tensors_.push_back(Tensor::full({kNumbers}, 100 + i, DType::f32, device));
  }
  void expect_unchanged() const {
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> expected(kNumbers, static_cast<float>(100 + i));
      ASSERT_EQ(tensors_[static_cast<std::size_t>(i)].to_vector<float>(), expected) << i;
    }
  }

 private:
  std::vector<Tensor> tensors_;
};

TEST_F(CudaMemory, TensorsMadeAfterACaptureSurviveItsReplays) {
  {
    Tensor x = numbers(1), total = numbers(0), made;
    const auto step = [&] {
      made = (x * 2.0 + 1.0) * 3.0;
      total.copy_from(total + made);
    };
    step();
    CapturedGraph capture(device, step);
    made = Tensor();  // its memory belongs to the capture
    const Bystanders bystanders(device);
    for (int i = 2; i < 5; ++i) {
      capture.replay();
      bystanders.expect_unchanged();
      EXPECT_EQ(total.to_vector<float>(), std::vector<float>(kNumbers, static_cast<float>(9 * i)));
    }
  }
  expect_nothing_left();
}

// A step releases a tensor that was created before it: its replays still read that memory.
TEST_F(CudaMemory, WhatACapturedStepFreesStaysForItsReplays) {
  {
    Tensor input = numbers(5), total = numbers(0);
    CapturedGraph capture(device, [&] {
      total.copy_from(total + input);
      input = Tensor();
    });
    const Bystanders bystanders(device);
    for (int i = 1; i < 4; ++i) {
      capture.replay();
      EXPECT_EQ(total.to_vector<float>(), std::vector<float>(kNumbers, static_cast<float>(5 * i)));
    }
    bystanders.expect_unchanged();
  }
  expect_nothing_left();
}

// A tensor that outlives the capture that created it is an ordinary tensor.
TEST_F(CudaMemory, WhatACapturedStepMadeOutlivesIt) {
  {
    Tensor x = numbers(2), made;
    {
      CapturedGraph capture(device, [&] { made = x * 4.0; });
      capture.replay();
    }
    const Bystanders bystanders(device);
    EXPECT_EQ(made.to_vector<float>(), std::vector<float>(kNumbers, 8.0F));
    bystanders.expect_unchanged();
  }
  expect_nothing_left();
}

TEST_F(CudaMemory, ACaptureUsesItsMemoryAgain) {
  constexpr std::int64_t kLong = 256 * 1024;  // 1 MiB of f32
  Tensor x = Tensor::ones({kLong}, DType::f32, device);
  CapturedGraph capture(device, [&] {
    Tensor sum = x + 1.0;
    for (int i = 0; i < 64; ++i) sum = sum + 1.0;
    x.copy_from(sum);
  });
  const MemoryInfo now = memory_info(device);
  EXPECT_LT(now.bytes_in_use + now.bytes_cached - before.bytes_in_use, 8 * kMegabyte);
  capture.replay();
  EXPECT_EQ(x.to_vector<float>(), std::vector<float>(kLong, 66.0F));
}

TEST_F(CudaMemory, ACaptureMayEndWhileAnotherIsMade) {
  {
    Tensor x = numbers(1), y = numbers(0), z = numbers(0);
    auto first = std::make_unique<CapturedGraph>(device, [&] { z.copy_from(x * 2.0 + 1.0); });
    first->replay();
    CapturedGraph second(device, [&] {
      y.copy_from(x * 3.0);
      first.reset();
      y.copy_from(y + z);
    });
    const Bystanders bystanders(device);
    second.replay();
    EXPECT_EQ(y.to_vector<float>(), std::vector<float>(kNumbers, 6.0F));
    bystanders.expect_unchanged();
  }
  expect_nothing_left();
}

TEST_F(CudaMemory, AStepThatThrowsLeavesNothing) {
  {
    Tensor x = numbers(1), y = numbers(0);
    EXPECT_THROW(CapturedGraph(device,
                               [&] {
                                 y.copy_from(x * 2.0 + 1.0);
                                 throw std::runtime_error("no step");
                               }),
                 std::runtime_error);
    EXPECT_EQ(y.to_vector<float>(), std::vector<float>(kNumbers, 0.0F));  // the work was not queued
    y.copy_from(x * 2.0);
    EXPECT_EQ(y.to_vector<float>(), std::vector<float>(kNumbers, 2.0F));
  }
  expect_nothing_left();
}

TEST_F(CudaMemory, FreedBlocksAreKeptAndUsedAgain) {
  Runtime& runtime = *backend(device).runtime;
  void* const first = runtime.allocate(kMegabyte);
  runtime.free(first, kMegabyte);
  void* const larger = runtime.allocate(2 * kMegabyte);
  EXPECT_GE(memory_info(device).bytes_cached, kMegabyte);
  void* const second = runtime.allocate(kMegabyte - 1);
  EXPECT_EQ(first, second);
  runtime.free(second, kMegabyte - 1);
  runtime.free(larger, 2 * kMegabyte);
  expect_nothing_left();
}

#if defined(DESCENT_SIMULATED)
TEST_F(CudaMemory, WhatIsCachedIsGivenBackWhereTheDriverHasNoMore) {
  Runtime& runtime = *backend(device).runtime;
  runtime.free(runtime.allocate(kMegabyte), kMegabyte);
  simulated::fail("cudaMalloc", cudaErrorMemoryAllocation);
  void* const block = runtime.allocate(3 * kMegabyte);
  EXPECT_EQ(memory_info(device).bytes_cached, 0U);
  runtime.free(block, 3 * kMegabyte);
  simulated::fail("cudaMalloc", cudaErrorMemoryAllocation, 2);
  EXPECT_THROW(runtime.allocate(5 * kMegabyte), OutOfMemory);
  expect_nothing_left();
}
#endif

// Each source is overwritten as soon as its copy returns, long before the device has the data.
TEST_F(CudaMemory, SourcesMayChangeOnceACopyReturns) {
  Runtime& runtime = *backend(device).runtime;
  constexpr std::size_t kBytes = 4000;
  std::vector<std::uint8_t> bytes(kBytes);
  std::vector<void*> blocks;
  for (std::uint8_t i = 0; i < 7; ++i) {
    blocks.push_back(runtime.allocate(kBytes));
    bytes.assign(kBytes, i);
    runtime.copy_from_host(blocks.back(), bytes.data(), kBytes);
    bytes.assign(kBytes, 0xEE);
  }
  for (std::uint8_t i = 0; i < 7; ++i) {
    runtime.copy_to_host(bytes.data(), blocks[i], kBytes);
    EXPECT_EQ(bytes, std::vector<std::uint8_t>(kBytes, i));
    runtime.free(blocks[i], kBytes);
  }
  expect_nothing_left();
}

TEST_F(CudaMemory, CopiesLongerThanThePinnedBuffers) {
  Runtime& runtime = *backend(device).runtime;
  for (const std::size_t bytes : {std::size_t{1}, 4 * kMegabyte, 4 * kMegabyte + 1, 13 * kMegabyte + 5}) {
    const auto from = test::random_values<std::uint8_t>(static_cast<std::int64_t>(bytes), 5, 0, 255);
    std::vector<std::uint8_t> back(bytes);
    void* const block = runtime.allocate(bytes);
    runtime.copy_from_host(block, from.data(), bytes);
    runtime.copy_to_host(back.data(), block, bytes);
    EXPECT_EQ(std::memcmp(from.data(), back.data(), bytes), 0) << bytes;
    runtime.free(block, bytes);
  }
  expect_nothing_left();
}

}  // namespace
}  // namespace descent
