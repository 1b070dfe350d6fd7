// Sums over a thread, a warp and a block, of values that plain arithmetic loses: what remains when large terms
// cancel. Every term must be added exactly once, whatever the number of warps.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/accumulate.cuh"

namespace descent::gpu {
namespace {

// y[b] = the sum of block b's terms, one per thread, repeated `rounds` times.
template <class T>
__global__ void block_sums_kernel(const T* x, int rounds, double* y) {
  alignas(16) __shared__ unsigned char raw[kWarp * sizeof(Sum<T>)];
  for (int round = 0; round < rounds; ++round) {
    Sum<T> sum;
    sum.add(x[blockIdx.x * blockDim.x + threadIdx.x]);
    sum = merge_block(sum, reinterpret_cast<Sum<T>*>(raw));
    if (threadIdx.x == 0) y[blockIdx.x * static_cast<unsigned>(rounds) + static_cast<unsigned>(round)] = sum.value();
    __syncthreads();
  }
}

// y[w] = the sum of warp w's terms.
template <class T>
__global__ void warp_sums_kernel(const T* x, double* y) {
  Sum<T> sum;
  sum.add(x[threadIdx.x]);
  sum = merge_warp(sum);
  if (threadIdx.x % kWarp == 0) y[threadIdx.x / kWarp] = sum.value();
}

// y[0] = the sum of n terms, added in sequence by one thread; y[1] the same, rounded to T.
template <class T>
__global__ void thread_sum_kernel(const T* x, int n, double* y) {
  Sum<T> sum;
  for (int i = 0; i < n; ++i) sum.add(x[i]);
  y[0] = sum.value();
  y[1] = static_cast<double>(sum.rounded());
}

template <class T>
class Accumulate : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(Accumulate, Floating);

// 1, 2, 3, ...: the sum changes if any term is missing or added twice.
template <class T>
std::vector<T> counted(int n) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = static_cast<T>(i + 1);
  return x;
}

TYPED_TEST(Accumulate, EveryThreadOfABlockCountsOnce) {
  using T = TypeParam;
  for_schedules([] {
    for (const int threads : {32, 64, 96, 256, 1024}) {
      SCOPED_TRACE(threads);
      constexpr int kBlocks = 2, kRounds = 2;
      TestStream stream;
      const DeviceArray<T> x(counted<T>(kBlocks * threads));
      const DeviceArray<double> y(kBlocks * kRounds);
      launch(stream, "block_sums", block_sums_kernel<T>, dim3(kBlocks), dim3(static_cast<unsigned>(threads)), 0,
             x.data(), kRounds, y.data());
      const double first = threads * (threads + 1) / 2.0, second = first + static_cast<double>(threads) * threads;
      EXPECT_EQ(y.host(), (std::vector<double>{first, first, second, second}));
    }
  });
}

TYPED_TEST(Accumulate, EveryLaneOfAWarpCountsOnce) {
  using T = TypeParam;
  for_schedules([] {
    TestStream stream;
    const DeviceArray<T> x(counted<T>(64));
    const DeviceArray<double> y(2);
    launch(stream, "warp_sums", warp_sums_kernel<T>, dim3(1), dim3(64), 0, x.data(), y.data());
    EXPECT_EQ(y.host(), (std::vector<double>{528, 1552}));
  });
}

// Large enough to be lost in plain sums, small enough for the two numbers of a Sum to lose nothing.
template <class T>
constexpr double kHuge = sizeof(T) == 4 ? 0x1p50 : 0x1p100;

TYPED_TEST(Accumulate, WhatIsLeftOfLargeTermsStays) {
  using T = TypeParam;
  const T huge = static_cast<T>(kHuge<T>);
  const std::vector<T> x{huge, T(1), T(3), -huge, T(0.5)};
  TestStream stream;
  const DeviceArray<T> from(x);
  const DeviceArray<double> y(2);
  launch(stream, "thread_sum", thread_sum_kernel<T>, dim3(1), dim3(1), 0, from.data(), static_cast<int>(x.size()),
         y.data());
  EXPECT_EQ(y.host()[0], 4.5);
}

// The huge terms meet only in the last merge of a warp or of a block.
TYPED_TEST(Accumulate, MergingKeepsIt) {
  using T = TypeParam;
  const T huge = static_cast<T>(kHuge<T>);
  TestStream stream;
  for (const int far : {1, 16, 31, 32, 255}) {
    SCOPED_TRACE(far);
    std::vector<T> x(256, T(0.25));
    x[0] = huge;
    x[static_cast<std::size_t>(far)] = -huge;
    const DeviceArray<T> from(x);
    const DeviceArray<double> y(1);
    launch(stream, "block_sums", block_sums_kernel<T>, dim3(1), dim3(256), 0, from.data(), 1, y.data());
    EXPECT_EQ(y.host()[0], 254 * 0.25);
  }
}

// A thread adds some 400 terms of a sum of 10^8, and some 100,000 if one sum covers all of a GPU's memory. The error
// grows with the square of that: rounding the result takes 2 units, 8 are promised. A plain f32 sum is off by
// thousands of units there, because equal terms round the same way at every step.
template <class T>
void expect_accurate_chain(std::size_t n, double units) {
  for (const bool equal : {true, false}) {
    std::vector<T> x = test::random_values<T>(static_cast<std::int64_t>(n), 5);
    if (equal) x.assign(x.size(), T(0.1));
    long double want = 0, size = 0;
    for (const T value : x) want += value, size += std::abs(value);
    TestStream stream;
    const DeviceArray<T> from(x);
    const DeviceArray<double> y(2);
    launch(stream, "thread_sum", thread_sum_kernel<T>, dim3(1), dim3(1), 0, from.data(), static_cast<int>(x.size()),
           y.data());
    EXPECT_EQ(y.host()[1], static_cast<double>(static_cast<T>(y.host()[0])));
    EXPECT_NEAR(y.host()[0], static_cast<double>(want), units * test::unit<T>() * static_cast<double>(size))
        << n << (equal ? " equal terms" : " terms");
  }
}

TYPED_TEST(Accumulate, LongChainsKeepThePromise) {
  expect_accurate_chain<TypeParam>(400, 2);
  expect_accurate_chain<TypeParam>(4000, 2);
  expect_accurate_chain<TypeParam>(100000, 8);
}

TYPED_TEST(Accumulate, InfinitiesAndNanStay) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), most = std::numeric_limits<T>::max();
  TestStream stream;
  const auto sum_of = [&](const std::vector<T>& x) {
    const DeviceArray<T> from(x);
    const DeviceArray<double> y(2);
    launch(stream, "thread_sum", thread_sum_kernel<T>, dim3(1), dim3(1), 0, from.data(), static_cast<int>(x.size()),
           y.data());
    const std::vector<double> sums = y.host();
    EXPECT_TRUE(sums[1] == sums[0] || (std::isnan(sums[0]) && std::isnan(sums[1]))) << sums[0] << ' ' << sums[1];
    return sums[0];
  };
  EXPECT_EQ(sum_of({1, inf, 2}), inf);
  EXPECT_EQ(sum_of({1, -inf, 2}), -inf);
  EXPECT_TRUE(std::isnan(sum_of({inf, 1, -inf})));
  EXPECT_EQ(sum_of({most, most}), inf);
}

}  // namespace
}  // namespace descent::gpu
