// The order in which the device runs queued work. Source of the rules: CUDA C++ Programming Guide, "Asynchronous
// Concurrent Execution", "Streams" and "Default Stream"; CUDA Runtime API, "Stream synchronization behavior".
#include "runtime/queue.h"

#include <algorithm>
#include <random>

#include "runtime/api.h"
#include "runtime/capture.h"
#include "runtime/host_memory.h"

namespace simulated {
namespace {

std::vector<CUstream_st*>& streams() {
  static std::vector<CUstream_st*>& all = *new std::vector<CUstream_st*>;
  return all;
}

CUstream_st& default_stream(int device) {
  for (CUstream_st* const stream : streams()) {
    if (stream->legacy && stream->device == device) return *stream;
  }
  CUstream_st* const stream = new_stream(device, cudaStreamDefault);
  stream->legacy = true;
  return *stream;
}

// Restarts when the seed setting changes.
std::size_t random_below(std::size_t count) {
  static std::uint64_t seed = settings().seed;
  static std::mt19937_64& generator = *new std::mt19937_64(seed);
  if (seed != settings().seed) generator.seed(seed = settings().seed);
  return static_cast<std::size_t>(generator() % count);
}

// A predecessor of this operation that is not done, or null.
std::shared_ptr<Operation> missing(const Operation& operation) {
  for (const auto& earlier : operation.after) {
    if (!earlier->done) return earlier;
  }
  return nullptr;
}

// A graph's nodes in an order that its edges allow: the capture order, or a random one.
std::vector<std::size_t> order_of(const Nodes& nodes) {
  std::vector<std::size_t> order;
  if (settings().streams != Streams::random) {
    for (std::size_t i = 0; i < nodes.size(); ++i) order.push_back(i);
    return order;
  }
  std::vector<std::size_t> waits_for(nodes.size()), ready;
  std::vector<std::vector<std::size_t>> followers(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    waits_for[i] = nodes[i]->after.size();
    for (const std::size_t earlier : nodes[i]->after) followers[earlier].push_back(i);
    if (waits_for[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    std::swap(ready[random_below(ready.size())], ready.back());
    const std::size_t next = ready.back();
    ready.pop_back();
    order.push_back(next);
    for (const std::size_t follower : followers[next]) {
      if (--waits_for[follower] == 0) ready.push_back(follower);
    }
  }
  return order;
}

void run_head(CUstream_st& stream) {
  const std::shared_ptr<Operation> operation = stream.queue.front();
  stream.queue.pop_front();
  for (const std::size_t node : order_of(operation->nodes)) {
    if (sticky_error() != cudaSuccess) break;
    run_task(*operation->nodes[node]);
  }
  operation->done = true;
  operation->finished = std::chrono::steady_clock::now();
  operation->nodes.clear();
  operation->after.clear();
}

// Runs a random stream head that is ready. Returns false if nothing is queued.
bool run_random_head() {
  std::vector<CUstream_st*> ready;
  for (CUstream_st* const stream : streams()) {
    if (!stream->queue.empty() && missing(*stream->queue.front()) == nullptr) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  run_head(*ready[random_below(ready.size())]);
  return true;
}

// The stream whose head must run next to make progress towards the operation, which is not done. There always is one,
// as edges only lead to operations that were queued earlier.
CUstream_st& next_towards(std::vector<std::shared_ptr<Operation>>& wanted) {
  while (true) {
    while (wanted.back()->done) wanted.pop_back();
    CUstream_st& stream = *wanted.back()->stream;
    std::shared_ptr<Operation> earlier = missing(*stream.queue.front());
    if (earlier == nullptr) return stream;
    wanted.push_back(std::move(earlier));
  }
}

// Fills the targets with poison until the copy has run, to expose premature reads on the host. Skipped if a queued
// operation still reads that memory, because it needs the contents.
void poison_destinations(const Nodes& nodes) {
  for (const auto& node : nodes) {
    if (node->writes.begin == node->writes.end) continue;
    const auto reads_it = [&](const auto& other) { return other->reads.overlaps(node->writes); };
    bool needed = std::any_of(nodes.begin(), nodes.end(), reads_it);
    for (const CUstream_st* const stream : streams()) {
      for (const auto& operation : stream->queue) {
        needed = needed || std::any_of(operation->nodes.begin(), operation->nodes.end(), reads_it);
      }
    }
    if (!needed) poison_host(node->writes);
  }
}

}  // namespace

CUstream_st* new_stream(int device, unsigned flags) {
  auto* const stream = new CUstream_st;
  stream->device = device;
  stream->flags = flags;
  streams().push_back(stream);
  return stream;
}

const std::vector<CUstream_st*>& all_streams() { return streams(); }

cudaError_t find_stream(cudaStream_t handle, CUstream_st*& stream) {
  if (handle == nullptr || handle == cudaStreamLegacy) {
    stream = &default_stream(current_device());
    return cudaSuccess;
  }
  if (handle == cudaStreamPerThread) {
    explain("the per-thread default stream is not simulated");
    return cudaErrorNotSupported;
  }
  const auto it = std::find(streams().begin(), streams().end(), handle);
  if (it == streams().end() || (*it)->destroyed) return cudaErrorInvalidResourceHandle;
  stream = *it;
  return cudaSuccess;
}

cudaError_t submit(CUstream_st& stream, Nodes nodes, std::vector<std::shared_ptr<Operation>> after,
                   std::shared_ptr<Operation>* queued) {
  if (sticky_error() != cudaSuccess) return sticky_error();
  if (stream.capture != nullptr) return add_to_capture(stream, nodes);
  if (const cudaError_t status = refuse_implicit_dependency(stream); status != cudaSuccess) return status;
  const auto operation = std::make_shared<Operation>();
  operation->stream = &stream;
  operation->after = std::move(after);
  // The default stream waits for all blocking streams of its device, and they wait for it.
  if (stream.legacy) {
    for (const CUstream_st* const other : streams()) {
      if (other->device == stream.device && other->blocking() && other->last != nullptr && !other->last->done) {
        operation->after.push_back(other->last);
      }
    }
  } else if (stream.blocking()) {
    const CUstream_st& legacy = default_stream(stream.device);
    if (legacy.last != nullptr && !legacy.last->done) operation->after.push_back(legacy.last);
  }
  poison_destinations(nodes);
  operation->nodes = std::move(nodes);
  stream.queue.push_back(operation);
  stream.last = operation;
  if (queued != nullptr) *queued = operation;
  if (settings().streams == Streams::eager) run_until_done(operation);
  return cudaSuccess;
}

void run_until_done(const std::shared_ptr<Operation>& operation) {
  if (operation == nullptr) return;
  if (settings().streams == Streams::random) {
    while (!operation->done && run_random_head()) {
    }
  }
  std::vector<std::shared_ptr<Operation>> wanted{operation};
  while (!operation->done) run_head(next_towards(wanted));
}

void run_all(int device) {
  for (std::size_t i = 0; i < streams().size(); ++i) {
    if (streams()[i]->device == device) run_until_done(streams()[i]->last);
  }
}

void run_one_towards(const std::shared_ptr<Operation>& operation) {
  if (operation == nullptr || operation->done) return;
  std::vector<std::shared_ptr<Operation>> wanted{operation};
  run_head(next_towards(wanted));
}

void run_by_chance() {
  if (settings().streams != Streams::random) return;
  for (std::size_t count = random_below(4); count > 0 && run_random_head(); --count) {
  }
}

void drop_queued_work() {
  for (CUstream_st* const stream : streams()) {
    for (const auto& operation : stream->queue) {
      operation->done = true;
      operation->nodes.clear();
      operation->after.clear();
    }
    stream->queue.clear();
  }
}

cudaError_t enqueue(cudaStream_t handle, Task task) {
  const std::lock_guard lock(device_mutex());
  CUstream_st* stream = nullptr;
  if (sticky_error() != cudaSuccess) return sticky_error();
  if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
  auto node = std::make_shared<CUgraphNode_st>();
  if (task.kind == WorkKind::copy) node->type = cudaGraphNodeTypeMemcpy;
  if (task.kind == WorkKind::memset) node->type = cudaGraphNodeTypeMemset;
  node->task = std::move(task);
  return submit(*stream, {std::move(node)});
}

bool is_capturing(cudaStream_t handle) {
  const std::lock_guard lock(device_mutex());
  CUstream_st* stream = nullptr;
  return find_stream(handle, stream) == cudaSuccess && stream->capture != nullptr;
}

}  // namespace simulated
