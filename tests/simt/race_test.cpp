// The race checker: which accesses it takes for ordered. Without it, these kernels run and nothing is asked of them.
#include "shim_kernels.h"

namespace descent::gpu {
namespace race_test {  // a template that other files may instantiate too
template <class T>
__global__ void fixed_kernel(T* y) {
  __shared__ T last;
  if (threadIdx.x == blockDim.x - 1) last = 7;
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = last;  // of another block each time, so no race between them
}
}  // namespace race_test

namespace {

// Thread t reads what thread (t + by) % n wrote, in shared or global memory, with something in between.
enum class Between { nothing, syncthreads, syncwarp, shuffle, half_syncwarp };

template <Between between>
__device__ void pause() {
  if constexpr (between == Between::syncthreads) __syncthreads();
  if constexpr (between == Between::syncwarp) __syncwarp();
  if constexpr (between == Between::shuffle) __shfl_xor_sync(0xFFFFFFFFu, 1, 1);
  if constexpr (between == Between::half_syncwarp) __syncwarp(threadIdx.x % 32 < 16 ? 0xFFFFu : 0xFFFF0000u);
}

template <Between between, class T>
__global__ void pass_kernel(T* cells, unsigned by, T* y) {
  T* shared = cells != nullptr ? cells : dynamic_shared<T>();
  shared[threadIdx.x] = static_cast<T>(threadIdx.x);
  pause<between>();
  y[threadIdx.x] = shared[(threadIdx.x + by) % blockDim.x];
}

template <Between between, class T = int>
std::string passed(unsigned threads, unsigned by, bool global = false) {
  const DeviceArray<T> cells(threads), y(threads);
  return refusal(pass_kernel<between, T>, dim3(1), dim3(threads), threads * sizeof(T), global ? cells.data() : nullptr,
                 by, y.data());
}

template <class T>
__global__ void cells_kernel(T* cells, unsigned step) {
  cells[grid_thread() * step] = 1;
}

__global__ void count_kernel(int* count, bool reset, bool read, int* y) {
  if (reset && threadIdx.x == 0) *count = 0;
  atomicAdd(count, 1);
  if (read) y[grid_thread()] = *count;
}

// A write that nothing orders with a read two barriers earlier in another warp would be one; a barrier each is none.
__global__ void reuse_kernel(int* y, bool second) {
  __shared__ int cell;
  for (int i = 0; i < 3; ++i) {
    if (threadIdx.x == 0) cell = i;
    __syncthreads();
    y[threadIdx.x] = cell;
    if (second) __syncthreads();
  }
}

__global__ void warp_rows_kernel(int* y) {
  __shared__ int rows[2][32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    rows[warp][lane] = i;
    __syncwarp();
    y[threadIdx.x] = rows[warp][31 - lane];
    __syncwarp();
  }
}

#if defined(__SANITIZE_THREAD__)
#define EXPECT_RACE(text) EXPECT_HAS(text, "unordered accesses")
#else
#define EXPECT_RACE(text) EXPECT_EQ(text, "")
#endif

TEST(Race, BarriersOrder) {
  EXPECT_EQ((passed<Between::syncthreads>(64, 1)), "");
  EXPECT_EQ((passed<Between::syncthreads>(64, 40, true)), "");
  EXPECT_EQ((passed<Between::syncwarp>(32, 1)), "");
  EXPECT_EQ((passed<Between::nothing>(64, 0)), "");  // its own cell
}

TEST(Race, NothingElseOrders) {
  EXPECT_RACE((passed<Between::nothing>(64, 1)));
  EXPECT_RACE((passed<Between::nothing>(64, 1, true)));
  EXPECT_RACE((passed<Between::syncwarp>(64, 1)));  // from the next warp
  EXPECT_RACE((passed<Between::shuffle>(32, 1)));
  EXPECT_RACE((passed<Between::half_syncwarp>(32, 1)));
}

TEST(Race, EveryTypeAndByte) {
  EXPECT_RACE((passed<Between::nothing, std::uint8_t>(33, 1)));
  EXPECT_RACE((passed<Between::nothing, std::int16_t>(33, 1)));
  EXPECT_RACE((passed<Between::nothing, double>(33, 1)));
  EXPECT_EQ((passed<Between::nothing, std::uint8_t>(33, 0)), "");  // neighbours in a word are no race
  EXPECT_EQ((passed<Between::syncthreads, std::uint8_t>(33, 1)), "");
}

TEST(Race, BlocksAreNeverOrdered) {
  const DeviceArray<float> cells(128);
  EXPECT_EQ(refusal(cells_kernel<float>, dim3(4), dim3(32), 0, cells.data(), 1u), "");
  EXPECT_RACE(refusal(cells_kernel<float>, dim3(2), dim3(1), 0, cells.data(), 0u));
  EXPECT_EQ(refusal(cells_kernel<float>, dim3(1), dim3(1), 0, cells.data(), 0u), "");  // launches are ordered
}

TEST(Race, SharedMemoryIsNewInEveryBlock) {
  const DeviceArray<int> y(192);
  EXPECT_EQ(refusal(race_test::fixed_kernel<int>, dim3(3), dim3(64), 0, y.data()), "");
  EXPECT_EQ(y.host(), std::vector<int>(192, 7));
}

TEST(Race, Atomics) {
  const DeviceArray<int> count(std::vector<int>{0}), y(128);
  const auto run = [&](unsigned blocks, bool reset, bool read) {
    return refusal(count_kernel, dim3(blocks), dim3(64), 0, count.data(), reset, read, y.data());
  };
  EXPECT_EQ(run(2, false, false), "");
  EXPECT_RACE(run(1, true, false));
  EXPECT_RACE(run(1, false, true));
}

TEST(Race, ReuseOfSharedMemory) {
  const DeviceArray<int> y(64);
  EXPECT_EQ(refusal(reuse_kernel, dim3(1), dim3(64), 0, y.data(), true), "");
  EXPECT_RACE(refusal(reuse_kernel, dim3(1), dim3(64), 0, y.data(), false));
  EXPECT_RACE(refusal(reuse_kernel, dim3(1), dim3(32), 0, y.data(), false));
  EXPECT_EQ(refusal(warp_rows_kernel, dim3(1), dim3(64), 0, y.data()), "");
}

TEST(Race, SameUnderEverySchedule) {
  for (const auto schedule : {simt::Schedule::forward, simt::Schedule::reverse, simt::Schedule::random}) {
    simt::set_schedule(schedule, 3);
    EXPECT_RACE((passed<Between::nothing>(64, 1)));
    EXPECT_EQ((passed<Between::syncthreads>(64, 1)), "");
  }
  simt::set_schedule(simt::Schedule::forward);
}

#if defined(__SANITIZE_THREAD__)
TEST(Race, ReportsSayWhoWhatAndWhere) {
  const std::string global = passed<Between::nothing>(64, 1, true);
  EXPECT_HAS(global, "kernel test_kernel: ");
  EXPECT_HAS(global, " of 64 of a DeviceArray:");
  EXPECT_HAS(global, "of this block writes");
  EXPECT_HAS(global, "of block (0, 0, 0) reads");
  EXPECT_HAS(global, "race_test.cpp:");
  EXPECT_HAS((passed<Between::nothing>(64, 1)), " of 256 of dynamic shared memory");
  const DeviceArray<int> y(64);
  EXPECT_HAS(refusal(reuse_kernel, dim3(1), dim3(64), 0, y.data(), false), "of __shared__ ");
  const DeviceArray<float> cells(1);
  EXPECT_HAS(refusal(cells_kernel<float>, dim3(2), dim3(1), 0, cells.data(), 0u), "of another block writes");
}
#endif

}  // namespace
}  // namespace descent::gpu
