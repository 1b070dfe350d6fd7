// Tests events. Source: CUDA Runtime API, "Event Management" and cudaStreamWaitEvent.
#include <set>

#include "runtime_fixture.h"

namespace simulated {
namespace {

using RuntimeEvents = Runtime;

TEST_F(RuntimeEvents, SynchronizeRunsWhatCameBeforeAndNoMore) {
  auto* const on_device = device<char>(4);
  const cudaStream_t s = stream();
  const cudaEvent_t e = event();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, s));
  ok(cudaEventRecord(e, s));
  ok(cudaMemsetAsync(on_device, 1, 2, s));
  ok(cudaEventSynchronize(e));
  EXPECT_EQ(what_ran(), "memset 1");
}

TEST_F(RuntimeEvents, AStreamWaitsForAnother) {
  for (const Streams setting : {Streams::lazy, Streams::random}) {
    settings().streams = setting;
    for (int i = 0; i < 50; ++i) {
      auto* const on_device = device<char>(4);
      const cudaStream_t first = stream(), second = stream();
      const cudaEvent_t e = event();
      ok(cudaDeviceSynchronize());
      record_work(true);
      ok(cudaMemsetAsync(on_device, 1, 1, first));
      ok(cudaEventRecord(e, first));
      ok(cudaStreamWaitEvent(second, e, 0));
      ok(cudaMemsetAsync(on_device, 1, 2, second));
      ok(cudaStreamSynchronize(second));
      ASSERT_EQ(what_ran(), "memset 1, memset 2");
    }
  }
}

// Without the edge both orders occur, so the test above is not vacuous.
TEST_F(RuntimeEvents, WithoutTheEventBothOrdersComeUp) {
  settings().streams = Streams::random;
  std::set<std::string> orders;
  auto* const on_device = device<char>(4);
  const cudaStream_t first = stream(), second = stream();
  for (int i = 0; i < 50; ++i) {
    record_work(true);
    ok(cudaMemsetAsync(on_device, 1, 1, first));
    ok(cudaMemsetAsync(on_device + 1, 1, 2, second));
    ok(cudaDeviceSynchronize());
    orders.insert(what_ran());
  }
  EXPECT_EQ(orders.size(), 2u);
}

// "cudaStreamWaitEvent() use the most recently captured state at the time of the API call, and are not affected by
// later calls to cudaEventRecord()."
TEST_F(RuntimeEvents, AWaitIsForTheRecordBeforeIt) {
  auto* const on_device = device<char>(4);
  const cudaStream_t first = stream(), second = stream();
  const cudaEvent_t e = event();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, first));
  ok(cudaEventRecord(e, first));
  ok(cudaStreamWaitEvent(second, e, 0));
  ok(cudaMemsetAsync(on_device, 1, 2, first));
  ok(cudaEventRecord(e, first));
  ok(cudaMemsetAsync(on_device, 1, 3, second));
  ok(cudaStreamSynchronize(second));
  EXPECT_EQ(what_ran(), "memset 1, memset 3");
  ok(cudaEventSynchronize(e));
  EXPECT_EQ(what_ran(), "memset 2");
}

// "Before the first call to cudaEventRecord(), an event represents an empty set of work."
TEST_F(RuntimeEvents, NeverRecorded) {
  const cudaEvent_t e = event();
  EXPECT_EQ(cudaEventQuery(e), cudaSuccess);
  ok(cudaEventSynchronize(e));
  ok(cudaStreamWaitEvent(stream(), e, 0));
}

TEST_F(RuntimeEvents, AQueryMakesProgress) {
  auto* const on_device = device<char>(1);
  const cudaStream_t s = stream();
  const cudaEvent_t e = event();
  ok(cudaMemsetAsync(on_device, 1, 1, s));
  ok(cudaEventRecord(e, s));
  EXPECT_EQ(cudaEventQuery(e), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(e), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(e), cudaSuccess);
}

// "the call does not block on completion of the event"; streams that wait for it still wait.
TEST_F(RuntimeEvents, DestroyedWhileAStreamWaits) {
  auto* const on_device = device<char>(4);
  const cudaStream_t first = stream(), second = stream();
  const cudaEvent_t e = event();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, first));
  ok(cudaEventRecord(e, first));
  ok(cudaStreamWaitEvent(second, e, 0));
  ok(cudaEventDestroy(e));
  EXPECT_EQ(what_ran(), "");
  ok(cudaMemsetAsync(on_device, 1, 2, second));
  ok(cudaStreamSynchronize(second));
  EXPECT_EQ(what_ran(), "memset 1, memset 2");
  EXPECT_EQ(cudaEventRecord(e, first), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(e), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeEvents, ElapsedTime) {
  float milliseconds = -1;
  const cudaStream_t s = stream();
  const cudaEvent_t start = event(cudaEventDefault), end = event(cudaEventDefault), untimed = event();
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);
  ok(cudaEventRecord(start, s));
  ok(cudaEventRecord(untimed, s));
  ok(cudaEventRecord(end, s));
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  ok(cudaEventSynchronize(end));
  ok(cudaEventElapsedTime(&milliseconds, start, end));
  EXPECT_GE(milliseconds, 0);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeEvents, RecordedInTheDefaultStreamAnEventWaitsForBlockingStreams) {
  auto* const on_device = device<char>(4);
  const cudaStream_t blocking = stream(cudaStreamDefault);
  const cudaEvent_t e = event();
  record_work(true);
  ok(cudaMemsetAsync(on_device, 1, 1, blocking));
  ok(cudaEventRecord(e, nullptr));
  ok(cudaEventSynchronize(e));
  EXPECT_EQ(what_ran(), "memset 1");
}

}  // namespace
}  // namespace simulated
