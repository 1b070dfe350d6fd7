// Memory, copies and graphs of a CUDA device. Copies between host and device alternate between two pinned buffers, so
// that one is filled while the other is transferred; a copy from the host returns once the source may be changed.
#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/op_groups.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/context.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;  // bytes of a pinned buffer

// A pinned host buffer and the event recorded after its last use.
class Staging {
 public:
  // Waits until nothing on the device uses the buffer, then returns it.
  std::byte* wait() {
    if (memory_ == nullptr) {
      void* memory = nullptr;
      check(cudaHostAlloc(&memory, kPiece, cudaHostAllocDefault), "cudaHostAlloc");
      check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
      memory_ = static_cast<std::byte*>(memory);
    } else {
      check(cudaEventSynchronize(done_), "cudaEventSynchronize");
    }
    return memory_;
  }
  void record(cudaStream_t stream) { check(cudaEventRecord(done_, stream), "cudaEventRecord"); }

 private:
  std::byte* memory_ = nullptr;
  cudaEvent_t done_ = nullptr;
};

// An executable graph and what its replays need.
struct ExecutableGraph {
  cudaGraphExec_t executable = nullptr;
  std::shared_ptr<Allocator::Pool> pool;
  std::vector<std::shared_ptr<const void>> plans;  // library plans whose kernels are in the graph
  std::int64_t nodes = 0;
};

class CapturedCudaGraph final : public CapturedWork {
 public:
  CapturedCudaGraph(Context& context, const ExecutableGraph& captured) : context_(context), captured_(captured) {}
  ~CapturedCudaGraph() override {
    const auto destroy = [&context = context_, captured = captured_] {
      static_cast<void>(cudaStreamSynchronize(context.handle));  // a replay may still use the pool's blocks
      static_cast<void>(cudaGraphExecDestroy(captured.executable));
      context.allocator().release_pool(captured.pool);
    };
    if (context_.capturing) {
      context_.after_capture.emplace_back(destroy);  // synchronizing would invalidate the capture
    } else {
      destroy();
    }
  }
  CapturedCudaGraph(const CapturedCudaGraph&) = delete;
  CapturedCudaGraph& operator=(const CapturedCudaGraph&) = delete;

  void replay() override {
    context_.stream();
    check(cudaGraphLaunch(captured_.executable, context_.handle), "cudaGraphLaunch");
  }
  std::int64_t nodes() const override { return captured_.nodes; }

 private:
  Context& context_;
  ExecutableGraph captured_;
};

class GpuRuntime final : public Runtime {
 public:
  explicit GpuRuntime(Context& context) : context_(context) {}

  void* allocate(std::size_t bytes) override {
    context_.stream();
    return context_.allocate(bytes);
  }
  void free(void* data, std::size_t bytes) noexcept override { context_.free(data, bytes); }

  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    refuse_in_capture("a copy from the host");
    Stream& stream = context_.stream();
    const std::lock_guard lock(staging_mutex_);
    for (std::size_t at = 0; at < bytes; at += kPiece) {
      const std::size_t count = std::min(kPiece, bytes - at);
      Staging& staging = next();
      std::byte* const pinned = staging.wait();
      std::memcpy(pinned, static_cast<const std::byte*>(host) + at, count);
      check(cudaMemcpyAsync(static_cast<std::byte*>(device) + at, pinned, count, cudaMemcpyHostToDevice, stream.handle),
            "cudaMemcpyAsync to the device");
      staging.record(stream.handle);
    }
  }

  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    refuse_in_capture("a copy to the host");
    Stream& stream = context_.stream();
    const std::lock_guard lock(staging_mutex_);
    const auto queue_piece = [&](Staging& staging, std::size_t at) {
      std::byte* const pinned = staging.wait();
      check(cudaMemcpyAsync(pinned, static_cast<const std::byte*>(device) + at, std::min(kPiece, bytes - at),
                            cudaMemcpyDeviceToHost, stream.handle),
            "cudaMemcpyAsync to the host");
      staging.record(stream.handle);
    };
    if (bytes == 0) return;
    Staging* coming = &next();
    queue_piece(*coming, 0);
    for (std::size_t at = 0; at < bytes; at += kPiece) {
      Staging& arrived = *coming;
      if (at + kPiece < bytes) {
        coming = &next();
        queue_piece(*coming, at + kPiece);
      }
      std::memcpy(static_cast<std::byte*>(host) + at, arrived.wait(), std::min(kPiece, bytes - at));
    }
  }

  void copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes == 0) return;
    Stream& stream = context_.stream();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream.handle),
          "cudaMemcpyAsync within the device");
  }

  void synchronize() override {
    refuse_in_capture("a wait for the device");
    check(cudaStreamSynchronize(context_.stream().handle), "cudaStreamSynchronize");
  }

  MemoryInfo memory() const override { return context_.allocator().memory(); }
  void empty_cache() override {
    context_.stream();
    context_.allocator().empty_cache();
  }

  std::unique_ptr<CapturedWork> capture(const std::function<void()>& step) override {
    Stream& stream = context_.stream();
    if (context_.capturing) throw InvalidArgument("capture: the device is already being captured");
    // Relaxed mode: the allocator may call cudaMalloc during the capture.
    check(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    const std::shared_ptr<Allocator::Pool> pool = context_.allocator().begin_pool();
    context_.capturing = true;
    cudaGraph_t graph = nullptr;
    ExecutableGraph captured;
    captured.pool = pool;
    const auto end = [&] {
      context_.capturing = false;
      captured.plans = context_.take_kept();
      context_.allocator().end_pool();
      const cudaError_t ended = cudaStreamEndCapture(stream.handle, &graph);
      for (const auto& work : std::exchange(context_.after_capture, {})) work();
      return ended;
    };
    try {
      step();
    } catch (...) {
      static_cast<void>(end());
      static_cast<void>(cudaGetLastError());
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
      context_.allocator().release_pool(pool);
      throw;
    }
    std::size_t nodes = 0;
    cudaError_t status = end();
    if (status == cudaSuccess) status = cudaGraphGetNodes(graph, nullptr, &nodes);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&captured.executable, graph, 0);
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    if (status != cudaSuccess) context_.allocator().release_pool(pool);
    check(status, "capture of a CUDA graph");
    captured.nodes = static_cast<std::int64_t>(nodes);
    return std::make_unique<CapturedCudaGraph>(context_, captured);
  }

 private:
  Staging& next() { return staging_[turn_ = 1 - turn_]; }
  void refuse_in_capture(const char* what) const {
    if (context_.capturing) throw DeviceError(std::string("cuda: ") + what + " inside a captured step");
  }

  Context& context_;
  std::mutex staging_mutex_;  // several threads may copy at once
  Staging staging_[2];
  int turn_ = 0;
};

}  // namespace

std::unique_ptr<Runtime> make_runtime(Context& context) { return std::make_unique<GpuRuntime>(context); }

}  // namespace descent::gpu
