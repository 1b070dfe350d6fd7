// The queue of work of a stream, for the parts of the simulated device that queue: launches, copies and libraries.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <mutex>
#include <string>

#include "control.h"

// Before the definition of a function of NVIDIA's headers.
#define SIMULATED_API extern "C" __attribute__((visibility("default")))

namespace simulated {

// Held by every function of the runtime and the libraries.
std::recursive_mutex& device_mutex();

// Something that will run on the device, when its stream gets to it. `run` does it and may fill in bytes, flops and
// counters; it reports what goes wrong with report_fault.
struct Task {
  WorkKind kind = WorkKind::kernel;
  std::string name;
  std::function<void(Work&)> run;
};

// Behind everything on the stream; while it is captured: a node of the graph. A status other than cudaSuccess means
// that nothing was queued (sticky error, invalidated capture, a stream that was destroyed).
cudaError_t enqueue(cudaStream_t stream, Task task);
bool is_capturing(cudaStream_t stream);

// A fault on the device: the first stays until recover().
void report_fault(cudaError_t error, const std::string& what);

// For the libraries: where the bytes of device memory are; null after reporting a fault that begins with `who`.
const char* device_read(const void* address, std::uint64_t bytes, const std::string& who);
char* device_write(void* address, std::uint64_t bytes, const std::string& who);

// Counts the call (calls_of), and says whether it is to fail (control.h, fail): then *status is set.
bool injected(const char* function, int* status);

}  // namespace simulated
