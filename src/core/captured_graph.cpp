// Captures a step on a device and replays it.
#include "descent/captured_graph.h"

#include <utility>

#include "backend/backend.h"
#include "descent/error.h"

namespace descent {

CapturedGraph::CapturedGraph(Device device, std::function<void()> step) {
  if (!step) throw InvalidArgument("capture: there is no step");
  recording_ = backend(device).runtime->capture(step);
}

CapturedGraph::~CapturedGraph() = default;
CapturedGraph::CapturedGraph(CapturedGraph&&) noexcept = default;
CapturedGraph& CapturedGraph::operator=(CapturedGraph&&) noexcept = default;

void CapturedGraph::replay() {
  if (!recording_) throw InvalidArgument("capture: it was moved from");
  recording_->replay();
}

std::int64_t CapturedGraph::nodes() const {
  if (!recording_) throw InvalidArgument("capture: it was moved from");
  return recording_->nodes();
}

}  // namespace descent
