// Work queued on the device: operations in stream order, with edges between streams.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "runtime/stream.h"

struct CUstream_st;

// A node of a graph, or the single part of an operation that was queued directly.
struct CUgraphNode_st {
  simulated::Task task;
  cudaGraphNodeType type = cudaGraphNodeTypeKernel;
  // Pinned host memory that the task reads and writes: [begin, end), or empty.
  struct HostRange {
    std::uint64_t begin = 0, end = 0;
    bool overlaps(const HostRange& other) const { return begin < other.end && other.begin < end; }
  };
  HostRange reads, writes;
  std::vector<std::size_t> after;  // earlier nodes of the same graph
};

namespace simulated {

using Nodes = std::vector<std::shared_ptr<const CUgraphNode_st>>;
using HostRange = CUgraphNode_st::HostRange;

struct Capture;

struct Operation {
  Nodes nodes;  // empty for an event: only a point in the stream's order
  CUstream_st* stream = nullptr;
  std::vector<std::shared_ptr<Operation>> after;  // in other streams
  bool done = false;
  std::chrono::steady_clock::time_point finished;
};

}  // namespace simulated

struct CUstream_st {
  int device = 0;
  unsigned flags = 0;
  bool legacy = false;     // the default stream of its device
  bool destroyed = false;  // the handle is invalid; queued work still runs
  std::deque<std::shared_ptr<simulated::Operation>> queue;
  std::shared_ptr<simulated::Operation> last;  // the last one queued, done or not
  std::shared_ptr<simulated::Capture> capture;
  std::vector<std::size_t> tips;  // nodes of the capture that the next node depends on

  bool blocking() const { return !legacy && (flags & cudaStreamNonBlocking) == 0; }
};

namespace simulated {

// Streams and events are never freed, so that a destroyed handle can be recognized.
CUstream_st* new_stream(int device, unsigned flags);
// Finds the stream of a handle; null means the current device's default stream. Returns cudaErrorInvalidResourceHandle
// for anything that is not a live stream.
cudaError_t find_stream(cudaStream_t handle, CUstream_st*& stream);
const std::vector<CUstream_st*>& all_streams();

// Queues an operation of these nodes, with the given edges and those of the default stream. If the stream is being
// captured, adds the nodes to the capture instead (*operation stays null).
cudaError_t submit(CUstream_st& stream, Nodes nodes, std::vector<std::shared_ptr<Operation>> after = {},
                   std::shared_ptr<Operation>* operation = nullptr);

void run_until_done(const std::shared_ptr<Operation>& operation);
void run_all(int device);
void run_one_towards(const std::shared_ptr<Operation>& operation);  // progress between two queries
void run_by_chance();                                               // used in Streams::random
void drop_queued_work();

int current_device();

// work.cpp: runs a task on the device and records it.
void run_task(const CUgraphNode_st& node);

}  // namespace simulated
