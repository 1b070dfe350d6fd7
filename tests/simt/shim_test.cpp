// The SIMT shim itself: that kernels run as CUDA says, and that what CUDA leaves undefined is refused.
#include <gtest/gtest-spi.h>

#include <numeric>

#include "cuda/accumulate.cuh"
#include "shim_kernels.h"

namespace descent::gpu {
#if defined(__SANITIZE_ADDRESS__)
// As kernels do: arrays of a template that other files may instantiate too, handed on by pointer.
namespace shim_test {
[[gnu::noinline]] __device__ void store_at(float* x, int at) { x[at] = x[0]; }
template <int N>
__global__ void template_shared_at_kernel(int at) {
  __shared__ float before[32];
  __shared__ float fixed[N];
  __shared__ float behind[32];
  before[1] = behind[1] = 0;
  fixed[0] = before[1] + behind[1];
  store_at(fixed, at);
}
}  // namespace shim_test
#endif

namespace {

__global__ void index_kernel(int* seen, int* order, int* next) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned number = block * blockDim.x * blockDim.y * blockDim.z + thread;
  atomicAdd(&seen[number], 1);
  order[atomicAdd(next, 1)] = static_cast<int>(number);
}

std::vector<int> order_of_threads(dim3 grid, dim3 block) {
  const int n = static_cast<int>(grid.x * grid.y * grid.z * block.x * block.y * block.z);
  TestQueue queue;
  const DeviceArray<int> seen(std::vector<int>(static_cast<std::size_t>(n), 0)), order(n), next(std::vector<int>{0});
  launch(queue, "index_kernel", index_kernel, grid, block, 0, seen.data(), order.data(), next.data());
  EXPECT_EQ(seen.host(), std::vector<int>(static_cast<std::size_t>(n), 1));
  return order.host();
}

TEST(Shim, RunsEveryThreadOfTheGridOnce) {
  for_schedules([] { order_of_threads(dim3(3, 2, 2), dim3(5, 3, 2)); });
}

TEST(Shim, Schedules) {
  std::vector<int> expected(80);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order_of_threads(dim3(2), dim3(40)), expected);
  simt::set_schedule(simt::Schedule::reverse);
  EXPECT_EQ(order_of_threads(dim3(2), dim3(40)), std::vector<int>(expected.rbegin(), expected.rend()));
  simt::set_schedule(simt::Schedule::random, 1);
  const auto random = order_of_threads(dim3(2), dim3(40));
  EXPECT_NE(random, expected);
  simt::set_schedule(simt::Schedule::random, 1);
  EXPECT_EQ(order_of_threads(dim3(2), dim3(40)), random);
  simt::set_schedule(simt::Schedule::random, 2);
  EXPECT_NE(order_of_threads(dim3(2), dim3(40)), random);
  simt::set_schedule(simt::Schedule::forward);
}

template <class T>
__global__ void shuffle_kernel(int width, T* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const T value = static_cast<T>(100 + lane);
  y[lane] = __shfl_sync(0xFFFFFFFFu, value, 35, width);
  y[32 + lane] = __shfl_up_sync(0xFFFFFFFFu, value, 3, width);
  y[64 + lane] = __shfl_down_sync(0xFFFFFFFFu, value, 3, width);
  y[96 + lane] = __shfl_xor_sync(0xFFFFFFFFu, value, 5, width);
}

template <class T>
void expect_shuffles(int width) {
  TestQueue queue;
  const DeviceArray<T> y(128);
  launch(queue, "shuffle_kernel", shuffle_kernel<T>, dim3(1), dim3(32), 0, width, y.data());
  const auto got = y.host();
  for (int lane = 0; lane < 32; ++lane) {
    const int first = lane / width * width, last = first + width - 1;
    const int sources[] = {first + 35 % width, lane - 3 < first ? lane : lane - 3, lane + 3 > last ? lane : lane + 3,
                           (lane ^ 5) > last ? lane : lane ^ 5};
    for (int kind = 0; kind < 4; ++kind) {
      EXPECT_EQ(got[static_cast<std::size_t>(kind * 32 + lane)], static_cast<T>(100 + sources[kind]))
          << "kind " << kind << ", lane " << lane << ", width " << width;
    }
  }
}

TEST(Shim, Shuffles) {
  for_schedules([] {
    for (const int width : {32, 16, 8, 4}) {
      expect_shuffles<float>(width);
      expect_shuffles<double>(width);
      expect_shuffles<int>(width);
      expect_shuffles<unsigned long long>(width);
    }
  });
}

__global__ void half_warps_kernel(int* y) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < 16) {
    y[lane] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
  } else {
    y[lane] = __shfl_xor_sync(0xFFFF0000u, lane, 2);
    y[lane] = __shfl_xor_sync(0xFFFF0000u, y[lane], 2);
  }
}

TEST(Shim, PartsOfAWarp) {
  for_schedules([] {
    TestQueue queue;
    const DeviceArray<int> y(32);
    launch(queue, "half_warps_kernel", half_warps_kernel, dim3(1), dim3(32), 0, y.data());
    for (int lane = 0; lane < 32; ++lane) {
      EXPECT_EQ(y.host()[static_cast<std::size_t>(lane)], lane < 16 ? lane ^ 1 : lane);
    }
  });
}

__global__ void vote_kernel(unsigned* y) {
  const int thread = static_cast<int>(threadIdx.x);
  const unsigned ballot = __ballot_sync(0xFFFFFFFFu, thread % 3 == 0);
  const int any_none = __any_sync(0xFFFFFFFFu, thread < 0), any = __any_sync(0xFFFFFFFFu, thread % 32 == 7);
  const int all = __all_sync(0xFFFFFFFFu, thread >= 0), all_but_one = __all_sync(0xFFFFFFFFu, thread % 32 != 7);
  const int count = __syncthreads_count(thread < 40), block_or = __syncthreads_or(thread == 63 ? 8 : 0);
  const int or_none = __syncthreads_or(0), block_and = __syncthreads_and(4), and_but_one = __syncthreads_and(thread);
  if (thread % 32 == 0) y[thread / 32] = ballot;
  const bool right = any_none == 0 && any == 1 && all == 1 && all_but_one == 0 && count == 40 && block_or == 1 &&
                     or_none == 0 && block_and == 1 && and_but_one == 0;
  if (!right) atomicOr(&y[2], 1u);
}

TEST(Shim, Votes) {
  for_schedules([] {
    TestQueue queue;
    const DeviceArray<unsigned> y(std::vector<unsigned>{0, 0, 0});
    launch(queue, "vote_kernel", vote_kernel, dim3(1), dim3(64), 0, y.data());
    EXPECT_EQ(y.host(), (std::vector<unsigned>{0x49249249u, 0x92492492u, 0}));
  });
}

__global__ void atomics_kernel(int* sum, unsigned* largest, unsigned long long* smallest, unsigned* bits, int* claimed,
                               int* last) {
  const auto thread = static_cast<unsigned>(grid_thread());
  atomicAdd(sum, static_cast<int>(thread) - 10);
  atomicMax(largest, thread * 7 % 101);
  atomicMin(smallest, 1000ull + thread * 7 % 101);
  atomicOr(bits, 1u << (thread % 20));
  if (atomicCAS(claimed, 0, 1) == 0) atomicAdd(claimed, 10);
  atomicExch(last, 5);
}

TEST(Shim, Atomics) {
  for_schedules([] {
    TestQueue queue;
    const DeviceArray<int> sum(std::vector<int>{0}), claimed(std::vector<int>{0}), last(std::vector<int>{0});
    const DeviceArray<unsigned> largest(std::vector<unsigned>{0}), bits(std::vector<unsigned>{0});
    const DeviceArray<unsigned long long> smallest(std::vector<unsigned long long>{~0ull});
    launch(queue, "atomics_kernel", atomics_kernel, dim3(3), dim3(70), 0, sum.data(), largest.data(), smallest.data(),
           bits.data(), claimed.data(), last.data());
    EXPECT_EQ(sum.host()[0], 210 * 209 / 2 - 2100);
    EXPECT_EQ(largest.host()[0], 100u);
    EXPECT_EQ(smallest.host()[0], 1000u);
    EXPECT_EQ(bits.host()[0], 0xFFFFFu);
    EXPECT_EQ(claimed.host()[0], 11);
    EXPECT_EQ(last.host()[0], 5);
  });
}

template <class T>
__global__ void sum_kernel(const T* x, std::int64_t n, T* y) {
  alignas(16) __shared__ unsigned char raw[32 * sizeof(Sum<T>)];
  Sum<T> sum;
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) sum.add(x[i]);
  sum = merge_block(sum, reinterpret_cast<Sum<T>*>(raw));
  if (threadIdx.x == 0) y[blockIdx.x] = static_cast<T>(sum.value());
}

template <class T>
void expect_sums() {
  TestQueue queue;
  std::vector<T> values(3000);
  std::iota(values.begin(), values.end(), T{0});
  const DeviceArray<T> x(values), y(3);
  launch(queue, "sum_kernel", sum_kernel<T>, dim3(blocks_for(queue, 3000)), dim3(kThreads), 0, x.data(), 3000,
         y.data());
  const auto sums = y.host();
  EXPECT_EQ(sums[0] + sums[1] + sums[2], T{4498500});
}

TEST(Shim, SumsOfBlocks) {
  for_schedules([] {
    expect_sums<float>();
    expect_sums<double>();
  });
}

__global__ void unset_kernel(int* y) {
  __shared__ float fixed[40];
  float* dynamic = dynamic_shared<float>();
  if (threadIdx.x == 0) {
    y[blockIdx.x] = isnan(fixed[39]) && isnan(dynamic[19]);
    fixed[39] = dynamic[19] = 1;
  }
}

TEST(Shim, SharedMemoryIsUnsetInEveryBlock) {
  TestQueue queue;
  const DeviceArray<int> y(3);
  launch(queue, "unset_kernel", unset_kernel, dim3(3), dim3(32), 20 * sizeof(float), y.data());
  EXPECT_EQ(y.host(), (std::vector<int>{1, 1, 1}));
}

__global__ void different_barriers_kernel() {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void early_return_kernel() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}
__global__ void barrier_and_shuffle_kernel() {
  if (threadIdx.x == 5) __syncthreads();
  __shfl_xor_sync(0xFFFFFFFFu, 1, 1);
}
__global__ void returned_lane_kernel() {
  if (threadIdx.x == 5) return;
  __ballot_sync(0xFFFFFFFFu, 1);
}
__global__ void absent_lane_kernel(int by) { __shfl_down_sync(0xFFFFFFFFu, 1, by); }
__global__ void outside_mask_kernel() { __shfl_xor_sync(0x0000FFFFu, 1, 1); }
__global__ void reads_outside_mask_kernel() {
  if (threadIdx.x < 16) __shfl_xor_sync(0x0000FFFFu, 1, 16);
}
__global__ void different_masks_kernel() { __syncwarp(threadIdx.x == 5 ? 0xFFFFFFFFu : 0x0FFFFFFFu); }
__global__ void width_kernel(int width) { __shfl_sync(0xFFFFFFFFu, 1, 0, width); }

TEST(Shim, RefusesDivergence) {
  for_schedules([] {
    const std::string different = refusal(different_barriers_kernel, dim3(1), dim3(64), 0);
    EXPECT_HAS(different, "kernel test_kernel, block (0, 0, 0): threads wait at different barriers");
    EXPECT_HAS(different, "40 at __syncthreads (shim_test.cpp:");
    EXPECT_HAS(different, "24 at __syncthreads (shim_test.cpp:");
    const std::string early = refusal(early_return_kernel, dim3(2), dim3(64), 0);
    EXPECT_HAS(early, "threads returned before a barrier that others wait at; 63 at __syncthreads");
    EXPECT_HAS(early, "1 returned, the first of them thread (5, 0, 0)");
    EXPECT_HAS(refusal(barrier_and_shuffle_kernel, dim3(1), dim3(64), 0), "threads wait at different barriers");
    EXPECT_NE(refusal(returned_lane_kernel, dim3(1), dim3(32), 0), "");
    EXPECT_HAS(refusal(outside_mask_kernel, dim3(1), dim3(32), 0), "the caller's lane is not in the mask");
    EXPECT_HAS(refusal(reads_outside_mask_kernel, dim3(1), dim3(32), 0), "which takes no part");
    EXPECT_NE(refusal(different_masks_kernel, dim3(1), dim3(28), 0), "");
    EXPECT_HAS(refusal(width_kernel, dim3(1), dim3(32), 0, 12), "the width is 12");
    EXPECT_EQ(refusal(absent_lane_kernel, dim3(1), dim3(16), 0, 0), "");  // lanes that never were are no error
    EXPECT_HAS(refusal(absent_lane_kernel, dim3(1), dim3(16), 0, 1), "thread (15, 0, 0)");
    EXPECT_EQ(refusal(width_kernel, dim3(1), dim3(32), 0, 16), "");  // and all is well after an error
  });
}

__global__ void nothing_kernel() {}
__global__ void throwing_kernel() {
  if (threadIdx.x == 3) throw std::out_of_range("thrown");
  __syncthreads();
}

TEST(Shim, RefusesWhatCudaCannotLaunch) {
  EXPECT_EQ(refusal(nothing_kernel, dim3(1), dim3(1024), 48 * 1024), "");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1), dim3(32, 33), 0), "more than 1024 threads");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1), dim3(0), 0), "empty");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1), dim3(1, 1, 65), 0), "64 deep");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1, 65536), dim3(1), 0), "the grid exceeds");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1), dim3(1), 48 * 1024 + 1), "shared memory");
  simt::set_shared_limit(simt::kLargeSharedLimit);
  EXPECT_EQ(refusal(nothing_kernel, dim3(1), dim3(1), 227 * 1024), "");
  EXPECT_HAS(refusal(nothing_kernel, dim3(1), dim3(1), 227 * 1024 + 1), "shared memory");
  simt::set_shared_limit(simt::kSharedLimit);
  EXPECT_EQ(refusal(nothing_kernel, dim3(0), dim3(32), 0), "");  // launch() leaves an empty grid out
}

TEST(Shim, PassesExceptionsOn) {
  EXPECT_THROW(refusal(throwing_kernel, dim3(1), dim3(64), 0), std::out_of_range);
  EXPECT_EQ(refusal(nothing_kernel, dim3(1), dim3(64), 0), "");
}

__global__ void write_at_kernel(float* x, std::int64_t at) {
  if (threadIdx.x == 0) x[at] = 1;
}

TEST(Shim, DeviceArrays) {
  TestQueue queue;
  DeviceArray<float> x(5, 1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 16, 4u);
  EXPECT_TRUE(std::isnan(x.host()[4]));
  EXPECT_EQ(DeviceArray<std::uint8_t>(3).host(), (std::vector<std::uint8_t>{200, 200, 200}));
  launch(queue, "write_at_kernel", write_at_kernel, dim3(1), dim3(1), 0, x.data(), 2);
  EXPECT_EQ(x.host()[2], 1);
  x.set({1, 2, 3, 4, 5});
  EXPECT_EQ(x.host(), (std::vector<float>{1, 2, 3, 4, 5}));
  EXPECT_EQ(DeviceArray<double>(0).host().size(), 0u);
  const Scratch<double> scratch(queue, 3);
  EXPECT_TRUE(std::isnan(scratch.data()[2]));
}

#if defined(__SANITIZE_ADDRESS__)

__global__ void shared_at_kernel(int at, int fixed_at) {
  __shared__ float fixed[33];
  float* dynamic = dynamic_shared<float>();
  dynamic[at] = 1;
  fixed[fixed_at] = dynamic[0];
  dynamic[0] = fixed[0];
}
template <int N>
__global__ void pack_kernel(const float* x, float* y) {
  store_pack(y, load_pack<float, N>(x));
}

TEST(ShimDeathTest, MemoryOutsideOfArrays) {
  TestQueue queue;
  const DeviceArray<float> x(33), y(33, 1), two(2);
  const auto write = [&](float* to, std::int64_t at) {
    launch(queue, "write_at_kernel", write_at_kernel, dim3(1), dim3(32), 0, to, at);
  };
  write(x.data(), 32);
  write(y.data(), 32);
  EXPECT_DEATH(write(x.data(), 33), "heap-buffer-overflow");
  EXPECT_DEATH(write(y.data(), 33), "heap-buffer-overflow");
  EXPECT_DEATH(write(x.data(), -1), "heap-buffer-overflow");
  EXPECT_DEATH(write(x.data(), 33), "In kernel write_at_kernel, block \\(0, 0, 0\\), thread \\(0, 0, 0\\)");
  float* const freed = Scratch<float>(queue, 3).data();
  EXPECT_DEATH(write(freed, 0), "heap-use-after-free");
  const auto pack = [&]<int n>(std::integral_constant<int, n>, const float* from) {
    launch(queue, "pack_kernel", pack_kernel<n>, dim3(1), dim3(1), 0, from, x.data());
  };
  pack(std::integral_constant<int, 4>{}, x.data() + 4);
  EXPECT_DEATH(pack(std::integral_constant<int, 4>{}, x.data() + 5), "misaligned address");
  EXPECT_DEATH(pack(std::integral_constant<int, 4>{}, two.data()), "heap-buffer-overflow");
}

TEST(ShimDeathTest, WritesBeforeAnOffsetArray) {
  TestQueue queue;
  const auto write_before = [&] {
    const DeviceArray<float> y(33, 1);
    launch(queue, "write_at_kernel", write_at_kernel, dim3(1), dim3(1), 0, y.data(), -1);
  };
  EXPECT_NONFATAL_FAILURE(write_before(), "written before the array");
}

TEST(ShimDeathTest, MemoryOutsideOfSharedMemory) {
  TestQueue queue;
  const auto write = [&](int at, int fixed_at) {
    launch(queue, "shared_at_kernel", shared_at_kernel, dim3(1), dim3(1), 7 * sizeof(float), at, fixed_at);
  };
  write(6, 32);
  EXPECT_DEATH(write(7, 32), "heap-buffer-overflow");
  EXPECT_DEATH(write(6, 33), "out of bounds|global-buffer-overflow");
  const auto write_fixed = [&]<int n>(std::integral_constant<int, n>, int at) {
    launch(queue, "template_shared_at_kernel", shim_test::template_shared_at_kernel<n>, dim3(1), dim3(1), 0, at);
  };
  for (const int outside : {-1, 64, 65}) {
    EXPECT_DEATH(write_fixed(std::integral_constant<int, 64>{}, outside), "use-after-poison|global-buffer-overflow");
  }
  EXPECT_DEATH(write_fixed(std::integral_constant<int, 33>{}, 33), "use-after-poison|global-buffer-overflow");
  write_fixed(std::integral_constant<int, 64>{}, 63);
}

#endif

}  // namespace
}  // namespace descent::gpu
