// Events. Source: CUDA Runtime API, "Event Management" and cudaStreamWaitEvent; CUDA C++ Programming Guide,
// "Cross-stream Dependencies and Events".
#include <algorithm>
#include <unordered_set>

#include "runtime/api.h"
#include "runtime/capture.h"
#include "runtime/queue.h"

struct CUevent_st {
  int device = 0;
  unsigned flags = 0;
  std::shared_ptr<simulated::Operation> recorded;  // null: never
  std::shared_ptr<simulated::Capture> capture;     // last recorded in a captured stream
  std::vector<std::size_t> tips;                   // ... after these nodes
};

using namespace simulated;

namespace {

std::unordered_set<const CUevent_st*>& live_events() {
  static std::unordered_set<const CUevent_st*>& live = *new std::unordered_set<const CUevent_st*>;
  return live;
}

bool is_live(cudaEvent_t event) { return live_events().contains(event); }

cudaError_t create(cudaEvent_t* event, unsigned flags) {
  constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
  if (event == nullptr) return cudaErrorInvalidValue;
  if ((flags & ~kKnown) != 0) {
    explain("events between processes are not simulated");
    return cudaErrorNotSupported;
  }
  *event = new CUevent_st;
  (*event)->device = current_device();
  (*event)->flags = flags;
  live_events().insert(*event);
  return cudaSuccess;
}

// "It is invalid to synchronize or query the execution status of a stream which is being captured or a captured event"
// (Programming Guide, "Prohibited and Unhandled Operations").
cudaError_t refuse_captured(const CUevent_st& event) {
  if (event.capture == nullptr) return refuse_unsafe_call();
  if (!event.capture->ended) invalidate(*event.capture, cudaErrorCapturedEvent);
  return cudaErrorCapturedEvent;
}

cudaError_t record(CUevent_st& event, CUstream_st& stream) {
  // "event and stream must be on the same CUDA context."
  if (event.device != stream.device) return cudaErrorInvalidResourceHandle;
  if (stream.capture != nullptr) {
    if (stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
    event.recorded = nullptr;
    event.capture = stream.capture;
    event.tips = stream.tips;
    return cudaSuccess;
  }
  std::shared_ptr<Operation> point;
  if (const cudaError_t status = submit(stream, {}, {}, &point); status != cudaSuccess) return status;
  event.capture = nullptr;
  event.recorded = std::move(point);
  return cudaSuccess;
}

// A stream that waits for a captured event joins the capture. It is invalid to merge two captures this way, or to wait
// in a captured stream for an event that was not captured (Programming Guide, the same section).
cudaError_t wait_captured(const CUevent_st& event, CUstream_st& stream) {
  if (event.capture == nullptr) return invalidate(*stream.capture, cudaErrorStreamCaptureIsolation);
  if (event.capture->ended) {
    if (stream.capture != nullptr) invalidate(*stream.capture, cudaErrorCapturedEvent);
    return cudaErrorCapturedEvent;
  }
  if (event.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (stream.legacy) return invalidate(*event.capture, cudaErrorStreamCaptureImplicit);
  if (stream.capture != nullptr && stream.capture != event.capture) {
    invalidate(*stream.capture, cudaErrorStreamCaptureMerge);
    return invalidate(*event.capture, cudaErrorStreamCaptureMerge);
  }
  if (stream.capture == nullptr) stream.tips.clear();
  stream.capture = event.capture;
  for (const std::size_t tip : event.tips) {
    if (std::find(stream.tips.begin(), stream.tips.end(), tip) == stream.tips.end()) stream.tips.push_back(tip);
  }
  return cudaSuccess;
}

}  // namespace

SIMULATED_API cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return api("cudaEventCreate", Needs::device, [&] { return create(event, cudaEventDefault); });
}

SIMULATED_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return api("cudaEventCreateWithFlags", Needs::device, [&] { return create(event, flags); });
}

// "An event may be destroyed before it is complete"; the work that it waits for is not affected. The object is not
// freed, so that no new event gets the same handle.
SIMULATED_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return api("cudaEventDestroy", Needs::device, [&] {
    if (live_events().erase(event) == 0) return cudaErrorInvalidResourceHandle;
    *event = {};
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return api("cudaEventRecord", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (!is_live(event)) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    return record(*event, *stream);
  });
}

SIMULATED_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t handle, unsigned flags) {
  return api("cudaEventRecordWithFlags", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (!is_live(event)) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventRecordDefault) {
      explain("cudaEventRecordWithFlags: event nodes of graphs are not simulated");
      return cudaErrorNotSupported;
    }
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    return record(*event, *stream);
  });
}

// "Before the first call to cudaEventRecord(), an event represents an empty set of work"; event and stream may be on
// different devices.
SIMULATED_API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags) {
  return api("cudaStreamWaitEvent", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (!is_live(event)) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) {
      explain("cudaStreamWaitEvent: event nodes of graphs are not simulated");
      return cudaErrorNotSupported;
    }
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (event->capture != nullptr || stream->capture != nullptr) return wait_captured(*event, *stream);
    if (event->recorded == nullptr || event->recorded->done) return cudaSuccess;
    return submit(*stream, {}, {event->recorded});
  });
}

SIMULATED_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return api("cudaEventSynchronize", Needs::device, [&] {
    if (!is_live(event)) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t status = refuse_captured(*event); status != cudaSuccess) return status;
    run_until_done(event->recorded);
    return cudaSuccess;
  });
}

// As in cudaStreamQuery, the device makes one step of progress per query.
SIMULATED_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  return api("cudaEventQuery", Needs::device, [&] {
    if (!is_live(event)) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t status = refuse_captured(*event); status != cudaSuccess) return status;
    if (event->recorded == nullptr || event->recorded->done) return cudaSuccess;
    run_one_towards(event->recorded);
    return cudaErrorNotReady;
  });
}

// The simulator's own time between the two events, which says nothing about a GPU.
SIMULATED_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return api("cudaEventElapsedTime", Needs::device, [&] {
    if (milliseconds == nullptr) return cudaErrorInvalidValue;
    if (!is_live(start) || !is_live(end) || start->device != end->device) return cudaErrorInvalidResourceHandle;
    for (const CUevent_st* const event : {start, end}) {
      if (event->capture != nullptr) return cudaErrorCapturedEvent;
      if ((event->flags & cudaEventDisableTiming) != 0 || event->recorded == nullptr) {
        return cudaErrorInvalidResourceHandle;
      }
    }
    if (!start->recorded->done || !end->recorded->done) return cudaErrorNotReady;
    *milliseconds =
        std::chrono::duration<float, std::milli>(end->recorded->finished - start->recorded->finished).count();
    return cudaSuccess;
  });
}
