// Work of a library that takes two kernels with a workspace between them.
#pragma once

#include <functional>
#include <string>

#include "libraries/matrix.h"
#include "runtime/stream.h"

namespace simulated {

struct Steps {
  std::string name;
  std::function<bool(Work&)> first;  // false after a fault: there is no second
  std::function<void()> second;
};

// Queues both as one piece of work; where streams run in random order as two, so that other streams may run between
// them.
cudaError_t enqueue_steps(cudaStream_t stream, const Steps& steps);

// Values at the beginning of a workspace, everything else in it overwritten; and back. False, or empty, after a fault.
template <class T>
bool write_workspace(const Workspace& workspace, const std::vector<T>& values, const std::string& who);
template <class T>
std::vector<T> read_workspace(const Workspace& workspace, std::size_t count, const std::string& who);

}  // namespace simulated
