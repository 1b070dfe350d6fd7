// What every function of the simulated runtime begins and ends with.
#pragma once

#include <cuda_runtime_api.h>

#include <mutex>
#include <string>

#include "ptx/kernel.h"
#include "runtime/stream.h"

namespace simulated {

enum class Needs : std::uint8_t {
  nothing,     // answers without a device, and after a fault
  device,      // a device, on which nothing went wrong
  no_capture,  // that too, and is "potentially unsafe" while a stream is captured (cudaThreadExchangeStreamCaptureMode)
};

// Before a call: counts it, and says why it cannot be done (it is to fail, there is no device, a fault, a capture). In
// Streams::random something that is queued may run.
cudaError_t begin_call(const char* function, Needs needs);
// After it: what cudaGetLastError will say, and what a fault in the meantime turns the status into.
cudaError_t end_call(cudaError_t status, Needs needs);

// For what cannot be seen from the status: one line on standard error.
void explain(const std::string& text);

cudaError_t error_of(ptx::FaultKind kind);
cudaError_t sticky_error();  // cudaSuccess: there was no fault

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
