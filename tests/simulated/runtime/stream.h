// The interface through which launches, copies and libraries queue work on streams.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <mutex>
#include <string>

#include "control.h"

// Put before the definition of a function that NVIDIA's headers declare.
#define SIMULATED_API extern "C" __attribute__((visibility("default")))

namespace simulated {

// Held by every function of the runtime and the libraries.
std::recursive_mutex& device_mutex();

// Work for the device, which runs when its stream reaches it. `run` executes it, may fill in bytes, flops and counters,
// and reports errors with report_fault.
struct Task {
  WorkKind kind = WorkKind::kernel;
  std::string name;
  std::function<void(Work&)> run;
};

// Queues the task at the end of the stream, or adds it to the graph if the stream is being captured. If the status is
// not cudaSuccess, nothing was queued (sticky error, invalidated capture, destroyed stream).
cudaError_t enqueue(cudaStream_t stream, Task task);
bool is_capturing(cudaStream_t stream);

// Reports a fault on the device; the first one remains until recover().
void report_fault(cudaError_t error, const std::string& what);

// For the libraries: where the bytes of device memory are stored. On failure reports a fault that begins with `who`,
// and returns null.
const char* device_read(const void* address, std::uint64_t bytes, const std::string& who);
char* device_write(void* address, std::uint64_t bytes, const std::string& who);

// Counts the call (calls_of). Returns true and sets *status if the call must fail (control.h, fail).
bool injected(const char* function, int* status);

}  // namespace simulated
