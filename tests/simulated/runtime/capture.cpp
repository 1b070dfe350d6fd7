// Stream capture, and the calls that it forbids.
#include "runtime/capture.h"

#include <algorithm>

#include "runtime/api.h"
#include "runtime/graph.h"

namespace simulated {
namespace {

std::vector<std::shared_ptr<Capture>>& captures() {
  static std::vector<std::shared_ptr<Capture>>& all = *new std::vector<std::shared_ptr<Capture>>;
  return all;
}

// "The mode of this thread" in cudaThreadExchangeStreamCaptureMode.
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

std::vector<CUstream_st*> streams_of(const Capture& capture) {
  std::vector<CUstream_st*> streams;
  for (CUstream_st* const stream : all_streams()) {
    if (stream->capture.get() == &capture) streams.push_back(stream);
  }
  return streams;
}

// Ends the capture mode of its streams.
void end(const std::shared_ptr<Capture>& capture) {
  capture->ended = true;
  for (CUstream_st* const stream : streams_of(*capture)) {
    stream->capture = nullptr;
    stream->tips.clear();
  }
  std::erase(captures(), capture);
}

// Whether all work of the other streams precedes the origin's last nodes: streams that joined the capture must rejoin
// its origin before it ends (Programming Guide, "Cross-stream Dependencies and Events").
bool is_joined(const Capture& capture) {
  std::vector<bool> reached(capture.nodes.size());
  std::vector<std::size_t> open = capture.origin->tips;
  while (!open.empty()) {
    const std::size_t node = open.back();
    open.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    open.insert(open.end(), capture.nodes[node]->after.begin(), capture.nodes[node]->after.end());
  }
  const std::vector<CUstream_st*> streams = streams_of(capture);
  return std::all_of(streams.begin(), streams.end(), [&](const CUstream_st* stream) {
    return std::all_of(stream->tips.begin(), stream->tips.end(), [&](std::size_t tip) { return reached[tip]; });
  });
}

}  // namespace

std::vector<std::shared_ptr<Capture>> active_captures(int device) {
  std::vector<std::shared_ptr<Capture>> found;
  for (const auto& capture : captures()) {
    if (device < 0 || capture->origin->device == device) found.push_back(capture);
  }
  return found;
}

void abandon_captures() {
  for (const auto& capture : active_captures()) end(capture);
}

cudaError_t invalidate(Capture& capture, cudaError_t status) {
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  capture.invalid = true;
  return status;
}

cudaError_t add_to_capture(CUstream_st& stream, const Nodes& nodes) {
  Capture& capture = *stream.capture;
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  for (const auto& node : nodes) {
    auto captured = std::make_shared<CUgraphNode_st>(*node);
    captured->after = stream.tips;
    stream.tips = {capture.nodes.size()};
    capture.nodes.push_back(std::move(captured));
  }
  return cudaSuccess;
}

// "If the local thread has an ongoing capture sequence that was not initiated with cudaStreamCaptureModeRelaxed, or if
// any other thread has a concurrent capture sequence initiated with cudaStreamCaptureModeGlobal, this thread is
// prohibited from potentially unsafe API calls" in mode global; in mode thread-local the other threads do not matter,
// and in mode relaxed nothing is prohibited (CUDA Runtime API, cudaThreadExchangeStreamCaptureMode).
cudaError_t refuse_unsafe_call() {
  cudaError_t status = cudaSuccess;
  if (thread_mode == cudaStreamCaptureModeRelaxed) return status;
  for (const auto& capture : active_captures()) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool prohibits =
        own ? capture->mode != cudaStreamCaptureModeRelaxed
            : capture->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
    if (prohibits) status = invalidate(*capture, cudaErrorStreamCaptureUnsupported);
  }
  return status;
}

// "When any stream in the same context is being captured, and it was not created with cudaStreamNonBlocking, any
// attempted use of the legacy stream is invalid" (Programming Guide, "Prohibited and Unhandled Operations").
cudaError_t refuse_implicit_dependency(const CUstream_st& stream) {
  cudaError_t status = cudaSuccess;
  if (!stream.legacy) return status;
  for (CUstream_st* const other : all_streams()) {
    if (other->capture != nullptr && other->blocking() && other->device == stream.device) {
      status = invalidate(*other->capture, cudaErrorStreamCaptureImplicit);
    }
  }
  return status;
}

// "It is invalid to synchronize or query the execution status of a stream which is being captured", and "of a broader
// handle which encompasses an active stream capture, such as a device" (the same section).
cudaError_t refuse_in_capture(const CUstream_st* stream) {
  if (stream != nullptr && stream->capture != nullptr) {
    return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
  }
  if (stream != nullptr) return refuse_implicit_dependency(*stream);
  cudaError_t status = cudaSuccess;
  for (const auto& capture : active_captures(current_device())) {
    status = invalidate(*capture, cudaErrorStreamCaptureUnsupported);
  }
  return status;
}

}  // namespace simulated

using namespace simulated;

SIMULATED_API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return api("cudaStreamBeginCapture", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    // "Capture may not be initiated if stream is cudaStreamLegacy", and "only if the stream is not already in capture
    // mode".
    if (stream->legacy) return cudaErrorStreamCaptureUnsupported;
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
    if (stream->capture != nullptr) return invalidate(*stream->capture, cudaErrorIllegalState);
    static unsigned long long captured = 0;
    const auto capture = std::make_shared<Capture>();
    capture->mode = mode;
    capture->id = ++captured;
    capture->thread = std::this_thread::get_id();
    capture->origin = stream;
    stream->capture = capture;
    stream->tips.clear();
    captures().push_back(capture);
    return cudaSuccess;
  });
}

// "If capture was invalidated, due to a violation of the rules of stream capture, then a NULL graph will be returned.
// If the mode argument to cudaStreamBeginCapture was not cudaStreamCaptureModeRelaxed, this call must be from the same
// thread as cudaStreamBeginCapture."
SIMULATED_API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return api("cudaStreamEndCapture", Needs::device, [&] {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *graph = nullptr;
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    const std::shared_ptr<Capture> capture = stream->capture;
    if (capture == nullptr) return cudaErrorIllegalState;
    if (capture->origin != stream) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
      return invalidate(*capture, cudaErrorStreamCaptureWrongThread);
    }
    const bool joined = is_joined(*capture);
    end(capture);
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!joined) return cudaErrorStreamCaptureUnjoined;
    *graph = new_graph(std::move(capture->nodes));
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* state,
                                                   unsigned long long* id, cudaGraph_t* graph,
                                                   const cudaGraphNode_t** dependencies,
                                                   const cudaGraphEdgeData** edges, std::size_t* dependency_count) {
  return api("cudaStreamGetCaptureInfo", Needs::device, [&] {
    if (graph != nullptr || dependencies != nullptr || edges != nullptr || dependency_count != nullptr) {
      explain("cudaStreamGetCaptureInfo: only the state and the number of a capture are simulated");
      return cudaErrorNotSupported;
    }
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (state == nullptr) return cudaErrorInvalidValue;
    // Querying the default stream while a blocking one is captured: cudaErrorStreamCaptureImplicit, without
    // invalidating the capture (CUDA Runtime API, cudaStreamIsCapturing).
    for (const CUstream_st* const other : all_streams()) {
      if (stream->legacy && other->capture != nullptr && other->blocking() && other->device == stream->device) {
        return cudaErrorStreamCaptureImplicit;
      }
    }
    *state = stream->capture == nullptr ? cudaStreamCaptureStatusNone
             : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    if (id != nullptr && stream->capture != nullptr) *id = stream->capture->id;
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* state) {
  return api("cudaStreamIsCapturing", Needs::device,
             [&] { return cudaStreamGetCaptureInfo(handle, state, nullptr, nullptr, nullptr, nullptr, nullptr); });
}

SIMULATED_API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return api("cudaThreadExchangeStreamCaptureMode", Needs::nothing, [&] {
    if (mode == nullptr || *mode < cudaStreamCaptureModeGlobal || *mode > cudaStreamCaptureModeRelaxed) {
      return cudaErrorInvalidValue;
    }
    std::swap(*mode, thread_mode);
    return cudaSuccess;
  });
}
