// The prologue and epilogue of every function of the simulated runtime.
#pragma once

#include <cuda_runtime_api.h>

#include <mutex>
#include <string>

#include "ptx/kernel.h"
#include "runtime/stream.h"

namespace simulated {

enum class Needs : std::uint8_t {
  nothing,     // works without a device, and after a fault
  device,      // needs a device without a fault
  no_capture,  // the same, and is "potentially unsafe" while a stream is captured (cudaThreadExchangeStreamCaptureMode)
};

// Before a call: counts it, and returns an error if it cannot run (an injected failure, no device, a fault, a capture).
// In Streams::random, some queued work may run.
cudaError_t begin_call(const char* function, Needs needs);
// After a call: records the error for cudaGetLastError, and replaces the status if a fault has occurred meanwhile.
cudaError_t end_call(cudaError_t status, Needs needs);

// Prints one line to standard error, for reasons that the status does not show.
void explain(const std::string& text);

cudaError_t error_of(ptx::FaultKind kind);
cudaError_t sticky_error();  // cudaSuccess if there was no fault

template <class F>
cudaError_t api(const char* function, Needs needs, F&& f) {
  const std::lock_guard lock(device_mutex());
  cudaError_t status = begin_call(function, needs);
  if (status == cudaSuccess) {
    try {
      status = f();
    } catch (const ptx::Error& error) {
      explain(std::string(function) + ": " + error.what());
      status = error_of(error.kind);
    }
  }
  return end_call(status, needs);
}

}  // namespace simulated
