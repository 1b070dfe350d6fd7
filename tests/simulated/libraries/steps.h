// Library work that takes two kernels with a workspace between them.
#pragma once

#include <functional>
#include <string>

#include "libraries/matrix.h"
#include "runtime/stream.h"

namespace simulated {

struct Steps {
  std::string name;
  std::function<bool(Work&)> first;  // returns false after a fault; then `second` does not run
  std::function<void()> second;
};

// Queues both steps as one task; in random order as two, so that other streams may run between them.
cudaError_t enqueue_steps(cudaStream_t stream, const Steps& steps);

// Writes values to the beginning of a workspace, overwriting the rest of it, and reads them back. False, or empty,
// after a fault.
template <class T>
bool write_workspace(const Workspace& workspace, const std::vector<T>& values, const std::string& who);
template <class T>
std::vector<T> read_workspace(const Workspace& workspace, std::size_t count, const std::string& who);

}  // namespace simulated
