// Tests the order in which streams run. Source: CUDA C++ Programming Guide, "Streams" and "Default Stream".
#include <set>
#include <thread>

#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeStreams = Runtime;

TEST_F(RuntimeStreams, LazyWorkRunsWhenSomethingWaits) {
  auto* const on_device = device<char>(4);
  auto* const arrived = pinned<char>(4, 0);
  const cudaStream_t s = stream();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 7, 4, s));
  ok(cudaMemcpyAsync(arrived, on_device, 4, cudaMemcpyDeviceToHost, s));
  EXPECT_EQ(what_ran(), "");
  ok(cudaStreamSynchronize(s));
  EXPECT_EQ(what_ran(), "memset 4, copy to the host 4");
  EXPECT_EQ(arrived[3], 7);
}

TEST_F(RuntimeStreams, EagerWorkRunsAtOnce) {
  settings().streams = Streams::eager;
  auto* const on_device = device<char>(4);
  record_work(true);
  ok(cudaMemsetAsync(on_device, 7, 4, stream()));
  EXPECT_EQ(what_ran(), "memset 4");
}

TEST_F(RuntimeStreams, WaitingForOneStreamLeavesTheOthersAlone) {
  auto* const on_device = device<char>(3);
  const cudaStream_t first = stream(), second = stream();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, first));
  ok(cudaMemsetAsync(on_device + 1, 1, 2, second));
  ok(cudaStreamSynchronize(second));
  EXPECT_EQ(what_ran(), "memset 2");
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(what_ran(), "memset 1");
}

TEST_F(RuntimeStreams, AStreamRunsInOrderWhateverTheSetting) {
  for (const Streams setting : {Streams::lazy, Streams::eager, Streams::random}) {
    settings().streams = setting;
    auto* const on_device = device<char>(1);
    const cudaStream_t s = stream();
    for (int i = 0; i < 50; ++i) ok(cudaMemsetAsync(on_device, i, 1, s));
    ok(cudaStreamSynchronize(s));
    EXPECT_EQ(read(on_device), 49);
  }
}

// Two streams without an edge between them: both orders of their work occur.
TEST_F(RuntimeStreams, RandomInterleavesStreams) {
  settings().streams = Streams::random;
  std::set<std::string> orders;
  auto* const on_device = device<char>(16);
  const cudaStream_t first = stream(), second = stream();
  for (int i = 0; i < 200; ++i) {
    ok(cudaDeviceSynchronize());
    record_work(true);
    ok(cudaMemsetAsync(on_device, 1, 1, first));
    ok(cudaMemsetAsync(on_device, 1, 2, first));
    ok(cudaMemsetAsync(on_device + 8, 1, 3, second));
    ok(cudaDeviceSynchronize());
    orders.insert(what_ran());
  }
  EXPECT_EQ(orders, (std::set<std::string>{"memset 1, memset 2, memset 3", "memset 1, memset 3, memset 2",
                                           "memset 3, memset 1, memset 2"}));
}

TEST_F(RuntimeStreams, RandomRunsWorkBeforeAnyoneWaits) {
  settings().streams = Streams::random;
  auto* const on_device = device<char>(1);
  const cudaStream_t s = stream();
  bool ran_early = false, ran_late = false;
  for (int i = 0; i < 100; ++i) {
    record_work(true);
    ok(cudaMemsetAsync(on_device, i, 1, s));
    int of_no_interest = 0;
    ok(cudaStreamGetPriority(s, &of_no_interest));
    (take_work().empty() ? ran_late : ran_early) = true;
    ok(cudaStreamSynchronize(s));
  }
  EXPECT_TRUE(ran_early && ran_late);
}

// "the legacy default stream ... synchronizes with other streams", except those created with cudaStreamNonBlocking.
TEST_F(RuntimeStreams, TheDefaultStreamWaitsForBlockingStreams) {
  auto* const on_device = device<char>(8);
  const cudaStream_t blocking = stream(cudaStreamDefault), apart = stream(cudaStreamNonBlocking);
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, blocking));
  ok(cudaMemsetAsync(on_device, 1, 2, apart));
  ok(cudaMemsetAsync(on_device, 1, 3, nullptr));
  ok(cudaStreamSynchronize(nullptr));
  EXPECT_EQ(what_ran(), "memset 1, memset 3");
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(what_ran(), "memset 2");
}

TEST_F(RuntimeStreams, BlockingStreamsWaitForTheDefaultStream) {
  auto* const on_device = device<char>(8);
  const cudaStream_t blocking = stream(cudaStreamDefault), apart = stream(cudaStreamNonBlocking);
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 3, nullptr));
  ok(cudaMemsetAsync(on_device, 1, 2, apart));
  ok(cudaStreamSynchronize(apart));
  EXPECT_EQ(what_ran(), "memset 2");
  ok(cudaMemsetAsync(on_device, 1, 1, blocking));
  ok(cudaStreamSynchronize(blocking));
  EXPECT_EQ(what_ran(), "memset 3, memset 1");
}

TEST_F(RuntimeStreams, ALongChainBetweenStreams) {
  auto* const on_device = device<int>(1);
  write(on_device, 0);
  const cudaStream_t blocking = stream(cudaStreamDefault);
  for (int i = 0; i < 20000; ++i) ok(cudaMemsetAsync(on_device, i % 100, 4, i % 2 == 0 ? blocking : nullptr));
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(read(on_device), 99 * 0x01010101);
}

TEST_F(RuntimeStreams, AQueryMakesProgress) {
  auto* const on_device = device<char>(1);
  const cudaStream_t s = stream();
  EXPECT_EQ(cudaStreamQuery(s), cudaSuccess);
  for (int i = 0; i < 3; ++i) ok(cudaMemsetAsync(on_device, i, 1, s));
  int asked = 0;
  while (cudaStreamQuery(s) == cudaErrorNotReady) ++asked;
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  EXPECT_EQ(read(on_device), 2);
}

// "the function will return immediately", and the stream's work still runs.
TEST_F(RuntimeStreams, ADestroyedStreamFinishesItsWork) {
  auto* const on_device = device<char>(1);
  write(on_device, char{0});
  const cudaStream_t s = stream();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 9, 1, s));
  ok(cudaStreamDestroy(s));
  EXPECT_EQ(what_ran(), "");
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(read(on_device), 9);
  EXPECT_EQ(cudaMemsetAsync(on_device, 9, 1, s), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(s), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeStreams, HandlesThatAreNone) {
  EXPECT_EQ(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(0x1234)), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(cudaStreamPerThread), cudaErrorNotSupported);
  cudaStream_t s = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&s, 0x80), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamCreate(nullptr), cudaErrorInvalidValue);
}

TEST_F(RuntimeStreams, WhatAStreamSaysOfItself) {
  const cudaStream_t s = stream(cudaStreamNonBlocking);
  unsigned flags = 0;
  int priority = 1, on = -1;
  ok(cudaStreamGetFlags(s, &flags));
  ok(cudaStreamGetPriority(s, &priority));
  ok(cudaStreamGetDevice(s, &on));
  EXPECT_EQ(flags, static_cast<unsigned>(cudaStreamNonBlocking));
  EXPECT_EQ(priority, 0);
  EXPECT_EQ(on, 0);
}

TEST_F(RuntimeStreams, SeveralThreadsWaitAtOnce) {
  for (const Streams setting : {Streams::lazy, Streams::random}) {
    settings().streams = setting;
    std::vector<std::thread> threads;
    std::vector<int> wrong(4);
    for (std::size_t t = 0; t < wrong.size(); ++t) {
      auto* const on_device = device<char>(1);
      auto* const arrived = pinned<char>(1, 0);
      threads.emplace_back([=, s = stream(), &wrong] {
        for (int i = 0; i < 200; ++i) {
          ok(cudaMemsetAsync(on_device, i % 100, 1, s));
          ok(cudaMemcpyAsync(arrived, on_device, 1, cudaMemcpyDeviceToHost, s));
          ok(cudaStreamSynchronize(s));
          wrong[t] += *arrived != i % 100;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(4));
  }
}

}  // namespace
}  // namespace simulated
