// Library work in two steps with a workspace between them.
#include "libraries/steps.h"

#include <cstring>

namespace simulated {

cudaError_t enqueue_steps(cudaStream_t stream, const Steps& steps) {
  if (settings().streams != Streams::random) {
    return enqueue(stream, {WorkKind::library, steps.name, [steps](Work& work) {
                              if (steps.first(work)) steps.second();
                            }});
  }
  const cudaError_t status =
      enqueue(stream, {WorkKind::library, steps.name, [steps](Work& work) { steps.first(work); }});
  if (status != cudaSuccess) return status;
  return enqueue(stream, {WorkKind::library, steps.name + " (second step)", [steps](Work&) { steps.second(); }});
}

template <class T>
bool write_workspace(const Workspace& workspace, const std::vector<T>& values, const std::string& who) {
  if (!scribble(workspace, who)) return false;
  char* to = device_write(workspace.data, values.size() * sizeof(T), who);
  if (to == nullptr) return false;
  std::memcpy(to, values.data(), values.size() * sizeof(T));
  return true;
}

template <class T>
std::vector<T> read_workspace(const Workspace& workspace, std::size_t count, const std::string& who) {
  const char* from = device_read(workspace.data, count * sizeof(T), who);
  if (from == nullptr) return {};
  std::vector<T> values(count);
  std::memcpy(values.data(), from, count * sizeof(T));
  return values;
}

template bool write_workspace(const Workspace&, const std::vector<float>&, const std::string&);
template bool write_workspace(const Workspace&, const std::vector<double>&, const std::string&);
template std::vector<float> read_workspace(const Workspace&, std::size_t, const std::string&);
template std::vector<double> read_workspace(const Workspace&, std::size_t, const std::string&);

}  // namespace simulated
