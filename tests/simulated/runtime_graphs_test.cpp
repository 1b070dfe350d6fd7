// Tests captured graphs. Source: CUDA Runtime API, "Graph Management".
#include <algorithm>
#include <functional>
#include <set>

#include "runtime_fixture.h"

namespace simulated {
namespace {

class RuntimeGraphs : public Runtime {
 protected:
  void SetUp() override {
    Runtime::SetUp();
    data_ = device<char>(16);
    s_ = stream();
  }
  cudaGraph_t capture(const std::function<void()>& work) {
    cudaGraph_t graph = nullptr;
    ok(cudaStreamBeginCapture(s_, cudaStreamCaptureModeRelaxed));
    work();
    ok(cudaStreamEndCapture(s_, &graph));
    return graph;
  }
  static cudaGraphExec_t instantiate(cudaGraph_t graph) {
    cudaGraphExec_t executable = nullptr;
    ok(cudaGraphInstantiate(&executable, graph, 0));
    return executable;
  }

  char* data_ = nullptr;
  cudaStream_t s_ = nullptr;
};

TEST_F(RuntimeGraphs, RunsAsOftenAsItIsLaunched) {
  const cudaGraph_t graph = capture([&] {
    ok(cudaMemsetAsync(data_, 1, 1, s_));
    ok(cudaMemsetAsync(data_, 1, 2, s_));
  });
  const cudaGraphExec_t executable = instantiate(graph);
  ok(cudaGraphDestroy(graph));  // the executable graph stays valid
  record_work(true);
  for (int i = 0; i < 2; ++i) ok(cudaGraphLaunch(executable, s_));
  EXPECT_EQ(what_ran(), "");
  ok(cudaMemsetAsync(data_, 1, 3, s_));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(what_ran(), "memset 1, memset 2, memset 1, memset 2, memset 3");
  ok(cudaGraphExecDestroy(executable));
  EXPECT_EQ(cudaGraphLaunch(executable, s_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaErrorInvalidValue);
}

TEST_F(RuntimeGraphs, DestroyedWhileItIsQueued) {
  const cudaGraphExec_t executable = instantiate(capture([&] { ok(cudaMemsetAsync(data_, 5, 1, s_)); }));
  ok(cudaGraphLaunch(executable, s_));
  ok(cudaGraphExecDestroy(executable));
  ok(cudaStreamSynchronize(s_));
  EXPECT_EQ(read(data_), 5);
}

// "Each launch is ordered behind both any previous work in stream and any previous launches of graphExec."
TEST_F(RuntimeGraphs, LaunchesOfOneGraphAreInOrderAcrossStreams) {
  const cudaGraphExec_t executable = instantiate(capture([&] { ok(cudaMemsetAsync(data_, 1, 1, s_)); }));
  const cudaStream_t other = stream();
  record_work(true);
  ok(cudaMemsetAsync(data_ + 8, 1, 2, s_));
  ok(cudaGraphLaunch(executable, s_));
  ok(cudaGraphLaunch(executable, other));
  ok(cudaStreamSynchronize(other));
  EXPECT_EQ(what_ran(), "memset 2, memset 1, memset 1");
}

TEST_F(RuntimeGraphs, NodesAndTheirTypes) {
  auto* const host = pinned<char>(4, 1);
  const cudaGraph_t graph = capture([&] {
    ok(cudaMemcpyAsync(data_, host, 4, cudaMemcpyHostToDevice, s_));
    ok(cudaMemsetAsync(data_ + 8, 1, 4, s_));
    ok(cudaMemcpyAsync(data_ + 4, data_, 4, cudaMemcpyDeviceToDevice, s_));
    ok(cudaEventRecord(event(), s_));  // adds no node
  });
  cudaGraphNode_t nodes[4] = {};
  std::size_t count = 4;
  ok(cudaGraphGetNodes(graph, nodes, &count));
  ASSERT_EQ(count, 3u);
  EXPECT_EQ(nodes[3], nullptr);
  const cudaGraphNodeType expected[] = {cudaGraphNodeTypeMemcpy, cudaGraphNodeTypeMemset, cudaGraphNodeTypeMemcpy};
  for (std::size_t i = 0; i < count; ++i) {
    cudaGraphNodeType type{};
    ok(cudaGraphNodeGetType(nodes[i], &type));
    EXPECT_EQ(type, expected[i]);
  }
  count = 2;
  ok(cudaGraphGetNodes(graph, nodes, &count));
  EXPECT_EQ(count, 2u);
  const cudaGraphExec_t executable = instantiate(graph);
  EXPECT_EQ(nodes_of_graph(executable), 3u);
  EXPECT_EQ(nodes_of_graph(executable, WorkKind::copy), 2u);
  EXPECT_EQ(nodes_of_graph(executable, WorkKind::memset), 1u);
  EXPECT_EQ(nodes_of_graph(executable, WorkKind::kernel), 0u);
  EXPECT_EQ(nodes_of_graph(this), 0u);
}

// Copies store addresses, not bytes: a graph reads the host's memory whenever it runs, pageable or not.
TEST_F(RuntimeGraphs, CopiesReadTheHostWhenTheyRun) {
  auto* const locked = pinned<char>(1, 0);
  char pageable = 0;
  const cudaGraphExec_t executable = instantiate(capture([&] {
    ok(cudaMemcpyAsync(data_, locked, 1, cudaMemcpyHostToDevice, s_));
    ok(cudaMemcpyAsync(data_ + 1, &pageable, 1, cudaMemcpyHostToDevice, s_));
  }));
  for (char round = 1; round < 4; ++round) {
    *locked = pageable = round;
    ok(cudaGraphLaunch(executable, s_));
    ok(cudaStreamSynchronize(s_));
    EXPECT_EQ(read(data_), round);
    EXPECT_EQ(read(data_ + 1), round);
  }
}

// Nodes run in random order but respect edges: the second half after the fork, the last node after both branches.
TEST_F(RuntimeGraphs, NodesRunInTheOrderOfTheirEdges) {
  const cudaStream_t other = stream();
  const cudaEvent_t fork = event(), join = event();
  const cudaGraphExec_t executable = instantiate(capture([&] {
    ok(cudaMemsetAsync(data_, 1, 1, s_));
    ok(cudaEventRecord(fork, s_));
    ok(cudaStreamWaitEvent(other, fork, 0));
    ok(cudaMemsetAsync(data_ + 4, 1, 2, other));
    ok(cudaMemsetAsync(data_ + 8, 1, 3, s_));
    ok(cudaEventRecord(join, other));
    ok(cudaStreamWaitEvent(s_, join, 0));
    ok(cudaMemsetAsync(data_ + 12, 1, 4, s_));
  }));
  settings().streams = Streams::random;
  std::set<std::string> orders;
  for (int i = 0; i < 50; ++i) {
    record_work(true);
    ok(cudaGraphLaunch(executable, s_));
    ok(cudaStreamSynchronize(s_));
    orders.insert(what_ran());
  }
  EXPECT_EQ(orders, (std::set<std::string>{"memset 1, memset 2, memset 3, memset 4",
                                           "memset 1, memset 3, memset 2, memset 4"}));
}

TEST_F(RuntimeGraphs, MemoryThatWasFreedSinceTheCapture) {
  void* gone = nullptr;
  ok(cudaMalloc(&gone, 4));
  const cudaGraphExec_t executable = instantiate(capture([&] { ok(cudaMemsetAsync(gone, 1, 4, s_)); }));
  ok(cudaFree(gone));
  ok(cudaGraphLaunch(executable, s_));
  EXPECT_EQ(cudaStreamSynchronize(s_), cudaErrorIllegalAddress);
  EXPECT_NE(fault().find("a memset writes: byte 0 of 4"), std::string::npos) << fault();
}

TEST_F(RuntimeGraphs, RefusesWhatItCannot) {
  const cudaGraph_t graph = capture([] {});
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, nullptr, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagDeviceLaunch), cudaErrorNotSupported);
  EXPECT_EQ(executable, nullptr);
  executable = instantiate(graph);
  ok(cudaGraphLaunch(executable, s_));  // a graph without nodes is valid
  ok(cudaStreamBeginCapture(s_, cudaStreamCaptureModeRelaxed));
  EXPECT_EQ(cudaGraphLaunch(executable, s_), cudaErrorNotSupported);
}

}  // namespace
}  // namespace simulated
