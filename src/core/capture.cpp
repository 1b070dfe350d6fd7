#include "descent/capture.h"

#include <utility>

#include "backend.h"
#include "descent/error.h"

namespace descent {

Capture::Capture(Device device, std::function<void()> step) {
  if (!step) throw InvalidArgument("capture: there is no step");
  recording_ = backend(device).runtime->capture(step);
}

Capture::~Capture() = default;
Capture::Capture(Capture&&) noexcept = default;
Capture& Capture::operator=(Capture&&) noexcept = default;

void Capture::replay() {
  if (!recording_) throw InvalidArgument("capture: it was moved from");
  recording_->replay();
}

std::int64_t Capture::nodes() const {
  if (!recording_) throw InvalidArgument("capture: it was moved from");
  return recording_->nodes();
}

}  // namespace descent
