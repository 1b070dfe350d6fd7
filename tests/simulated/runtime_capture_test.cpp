// Tests what is allowed while a stream is captured. Source: CUDA C++ Programming Guide, "Creating a Graph Using Stream
// Capture"; CUDA Runtime API, cudaStreamBeginCapture, cudaStreamEndCapture and cudaThreadExchangeStreamCaptureMode.
#include <functional>
#include <thread>

#include "runtime_fixture.h"

namespace simulated {
namespace {

class RuntimeCapture : public Runtime {
 protected:
  void SetUp() override {
    Runtime::SetUp();
    data_ = device<char>(8);
    s_ = stream();
  }
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed) { ok(cudaStreamBeginCapture(s_, mode)); }
  cudaError_t end() { return cudaStreamEndCapture(s_, &graph_); }
  void work(cudaStream_t s, std::size_t bytes = 1) { ok(cudaMemsetAsync(data_, 1, bytes, s)); }
  cudaStreamCaptureStatus state(cudaStream_t s) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    ok(cudaStreamIsCapturing(s, &status));
    return status;
  }
  std::size_t nodes() {
    std::size_t count = 0;
    ok(cudaGraphGetNodes(graph_, nullptr, &count));
    return count;
  }
  // The call returns the error and invalidates the capture: "further use of any streams which are being captured ... is
  // invalid and will return an error, until stream capture is ended", which "will also return an error value and a NULL
  // graph".
  void invalidates(cudaError_t error, const std::function<cudaError_t()>& call,
                   cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed) {
    SCOPED_TRACE(cudaGetErrorName(error));
    begin(mode);
    work(s_);
    EXPECT_EQ(call(), error);
    EXPECT_EQ(cudaGetLastError(), error);
    EXPECT_EQ(state(s_), cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(cudaMemsetAsync(data_, 1, 1, s_), cudaErrorStreamCaptureInvalidated);
    graph_ = reinterpret_cast<cudaGraph_t>(this);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph_, nullptr);
    EXPECT_EQ(state(s_), cudaStreamCaptureStatusNone);
    work(s_);  // the stream works again
    ok(cudaStreamSynchronize(s_));
  }

  char* data_ = nullptr;
  cudaStream_t s_ = nullptr;
  cudaGraph_t graph_ = nullptr;
};

TEST_F(RuntimeCapture, WorkIsCapturedAndNotDone) {
  write(data_, char{0});
  begin();
  EXPECT_EQ(state(s_), cudaStreamCaptureStatusActive);
  record_work(true);
  work(s_, 1);
  work(s_, 2);
  ok(end());
  EXPECT_EQ(state(s_), cudaStreamCaptureStatusNone);
  EXPECT_EQ(nodes(), 2u);
  ok(cudaDeviceSynchronize());
  EXPECT_EQ(what_ran(), "");
  EXPECT_EQ(read(data_), 0);
}

TEST_F(RuntimeCapture, BeginsWhereItMay) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamBeginCapture(s_, static_cast<cudaStreamCaptureMode>(3)), cudaErrorInvalidValue);
  EXPECT_EQ(end(), cudaErrorIllegalState);
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(s_, cudaStreamCaptureModeRelaxed), cudaErrorIllegalState);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(RuntimeCapture, WaitingAndAskingIsIllegal) {
  const auto unsupported = cudaErrorStreamCaptureUnsupported;
  invalidates(unsupported, [&] { return cudaStreamSynchronize(s_); });
  invalidates(unsupported, [&] { return cudaStreamQuery(s_); });
  invalidates(unsupported, [&] { return cudaDeviceSynchronize(); });
  invalidates(unsupported, [&] { return cudaStreamDestroy(s_); });
}

TEST_F(RuntimeCapture, EventsOfACaptureCannotBeWaitedFor) {
  const cudaEvent_t e = event();
  const auto record = [&] { ok(cudaEventRecord(e, s_)); };
  invalidates(cudaErrorCapturedEvent, [&] { return record(), cudaEventSynchronize(e); });
  invalidates(cudaErrorCapturedEvent, [&] { return record(), cudaEventQuery(e); });
  EXPECT_EQ(cudaEventSynchronize(e), cudaErrorCapturedEvent);  // its last record was in a capture that has not ended
  ok(cudaEventRecord(e, s_));
  ok(cudaEventSynchronize(e));
}

// Potentially unsafe calls by the capturing thread: refused in modes global and thread-local, allowed in mode relaxed.
TEST_F(RuntimeCapture, UnsafeCallsOfTheSameThread) {
  const auto unsupported = cudaErrorStreamCaptureUnsupported;
  const cudaStream_t other = stream();
  const cudaEvent_t e = event();
  void* block = device<char>(1);
  void* made = nullptr;
  const std::function<cudaError_t()> unsafe[] = {
      [&] { return cudaMalloc(&made, 1); },
      [&] { return cudaFree(block); },
      [&] { return cudaMallocHost(&made, 1); },
      [&] { return cudaStreamSynchronize(other); },
      [&] { return cudaEventQuery(e); },
      [&] { return cudaMemset(data_, 0, 1); },
      [&] { return cudaMemcpy(data_, data_ + 4, 1, cudaMemcpyDeviceToDevice); },
  };
  for (const auto& call : unsafe) {
    invalidates(unsupported, call, cudaStreamCaptureModeGlobal);
    invalidates(unsupported, call, cudaStreamCaptureModeThreadLocal);
    begin(cudaStreamCaptureModeRelaxed);
    EXPECT_EQ(call(), cudaSuccess);
    ok(end());
    block = device<char>(1);
  }
}

TEST_F(RuntimeCapture, UnsafeCallsOfAnotherThread) {
  const auto malloc_elsewhere = [&](cudaStreamCaptureMode mode) {
    cudaError_t status = cudaSuccess;
    std::thread([&] {
      void* made = nullptr;
      ok(cudaThreadExchangeStreamCaptureMode(&mode));
      EXPECT_EQ(mode, cudaStreamCaptureModeGlobal);  // the initial mode of every thread
      status = cudaMalloc(&made, 1);
    }).join();
    return status;
  };
  begin(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(malloc_elsewhere(cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(state(s_), cudaStreamCaptureStatusInvalidated);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(RuntimeCapture, AnotherThreadMayAllocateWhereTheModeSaysSo) {
  using Mode = cudaStreamCaptureMode;
  const std::pair<Mode, Mode> allowed[] = {{cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeGlobal},
                                           {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal},
                                           {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeRelaxed}};
  for (const auto& [capture, thread] : allowed) {
    begin(capture);
    std::thread([mode = thread] {
      void* made = nullptr;
      Mode exchanged = mode;
      ok(cudaThreadExchangeStreamCaptureMode(&exchanged));
      ok(cudaMalloc(&made, 1));
    }).join();
    ok(end());
  }
}

TEST_F(RuntimeCapture, EndsInTheThreadThatBegan) {
  begin(cudaStreamCaptureModeThreadLocal);
  std::thread([&] { EXPECT_EQ(end(), cudaErrorStreamCaptureWrongThread); }).join();
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  begin(cudaStreamCaptureModeRelaxed);
  std::thread([&] { EXPECT_EQ(end(), cudaSuccess); }).join();
}

// "When any stream in the same context is being captured, and it was not created with cudaStreamNonBlocking, any
// attempted use of the legacy stream is invalid."
TEST_F(RuntimeCapture, TheDefaultStreamBesidesABlockingOne) {
  ok(cudaMemsetAsync(data_, 0, 1, nullptr));
  begin();
  ok(cudaMemsetAsync(data_, 0, 1, nullptr));  // s_ is non-blocking
  ok(end());
  s_ = stream(cudaStreamDefault);
  const auto implicit = cudaErrorStreamCaptureImplicit;
  invalidates(implicit, [&] { return cudaMemsetAsync(data_, 0, 1, nullptr); });
  invalidates(implicit, [&] { return cudaMemcpy(data_, "x", 1, cudaMemcpyHostToDevice); });
  invalidates(implicit, [&] { return cudaStreamSynchronize(nullptr); });
  invalidates(implicit, [&] { return cudaEventRecord(event(), nullptr); });
  begin();
  cudaStreamCaptureStatus status;
  EXPECT_EQ(cudaStreamIsCapturing(nullptr, &status), implicit);  // "The blocking stream capture is not invalidated."
  EXPECT_EQ(state(s_), cudaStreamCaptureStatusActive);
  ok(end());
}

TEST_F(RuntimeCapture, AStreamThatWaitsJoins) {
  const cudaStream_t other = stream();
  const cudaEvent_t fork = event(), join = event();
  begin();
  work(s_);
  ok(cudaEventRecord(fork, s_));
  ok(cudaStreamWaitEvent(other, fork, 0));
  EXPECT_EQ(state(other), cudaStreamCaptureStatusActive);
  work(other);
  work(s_);
  ok(cudaEventRecord(join, other));
  ok(cudaStreamWaitEvent(s_, join, 0));
  work(s_);
  ok(end());
  EXPECT_EQ(nodes(), 4u);
  EXPECT_EQ(state(other), cudaStreamCaptureStatusNone);
}

TEST_F(RuntimeCapture, AForkMustBeJoined) {
  const cudaStream_t other = stream();
  const cudaEvent_t fork = event();
  begin();
  ok(cudaEventRecord(fork, s_));
  ok(cudaStreamWaitEvent(other, fork, 0));
  work(other);
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph_, nullptr);
  EXPECT_EQ(state(other), cudaStreamCaptureStatusNone);
}

TEST_F(RuntimeCapture, EndsWhereItBegan) {
  const cudaStream_t other = stream();
  const cudaEvent_t fork = event();
  invalidates(cudaErrorStreamCaptureUnmatched, [&] {
    ok(cudaEventRecord(fork, s_));
    ok(cudaStreamWaitEvent(other, fork, 0));
    return cudaStreamEndCapture(other, &graph_);
  });
}

TEST_F(RuntimeCapture, EdgesIntoAndBetweenCaptures) {
  const cudaStream_t other = stream();
  const cudaEvent_t outside = event(), inside = event();
  ok(cudaEventRecord(outside, other));
  invalidates(cudaErrorStreamCaptureIsolation, [&] { return cudaStreamWaitEvent(s_, outside, 0); });
  ok(cudaStreamBeginCapture(other, cudaStreamCaptureModeRelaxed));
  ok(cudaEventRecord(inside, other));
  invalidates(cudaErrorStreamCaptureMerge, [&] { return cudaStreamWaitEvent(s_, inside, 0); });
  EXPECT_EQ(cudaStreamEndCapture(other, &graph_), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamWaitEvent(s_, inside, 0), cudaErrorCapturedEvent);  // its capture has ended
}

TEST_F(RuntimeCapture, Numbers) {
  cudaStreamCaptureStatus status;
  unsigned long long first = 0, second = 0;
  begin();
  ok(cudaStreamGetCaptureInfo(s_, &status, &first, nullptr, nullptr, nullptr, nullptr));
  ok(end());
  begin();
  ok(cudaStreamGetCaptureInfo(s_, &status, &second, nullptr, nullptr, nullptr, nullptr));
  ok(end());
  EXPECT_NE(first, second);
}

TEST_F(RuntimeCapture, RecoveryEndsCaptures) {
  begin();
  recover();
  EXPECT_EQ(state(s_), cudaStreamCaptureStatusNone);
}

}  // namespace
}  // namespace simulated
