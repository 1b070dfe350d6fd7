// Stream capture: the work of captured streams becomes nodes of a graph. Source of the rules: CUDA C++ Programming
// Guide, "CUDA Graphs", "Creating a Graph Using Stream Capture"; CUDA Runtime API, cudaStreamBeginCapture and
// cudaThreadExchangeStreamCaptureMode.
#pragma once

#include <thread>

#include "runtime/queue.h"

namespace simulated {

struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  unsigned long long id = 0;
  std::thread::id thread;
  CUstream_st* origin = nullptr;
  bool invalid = false;
  bool ended = false;
  Nodes nodes;
};

// The active captures of a device, or (-1) of all devices.
std::vector<std::shared_ptr<Capture>> active_captures(int device = -1);
void abandon_captures();

cudaError_t add_to_capture(CUstream_st& stream, const Nodes& nodes);

// "When an invalid operation is attempted during stream capture, any associated capture graphs are invalidated."
// Returns the status of such a call: `status`, or cudaErrorStreamCaptureInvalidated if the capture was already invalid.
cudaError_t invalidate(Capture& capture, cudaError_t status);

// For potentially unsafe calls during a capture, and for calls that use the default stream.
cudaError_t refuse_unsafe_call();
cudaError_t refuse_implicit_dependency(const CUstream_st& stream);
// For calls that wait for or query a stream, or (null) the current device.
cudaError_t refuse_in_capture(const CUstream_st* stream);

}  // namespace simulated
