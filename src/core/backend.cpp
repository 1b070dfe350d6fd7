// Which backends this build has.
#include "backend.h"

#include <fmt/format.h>

#include "descent/error.h"

namespace descent {

Backend& backend(Device device) {
  if (device.type != DeviceType::cpu) {
    throw DeviceError(fmt::format("{}: {}", to_string(device), cuda_unavailable_reason()));
  }
  if (device.index != 0) throw DeviceError(fmt::format("cpu: index {}, there is only cpu 0", device.index));
  return cpu::backend();
}

std::string cuda_unavailable_reason() { return "this version of descent has no CUDA backend yet; use the device cpu"; }

}  // namespace descent
