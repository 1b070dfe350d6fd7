// Devices by name, and the calls on a whole device.
#include "descent/device.h"

#include <fmt/format.h>

#include <charconv>

#include "backend.h"
#include "descent/error.h"

namespace descent {

Device parse_device(std::string_view text) {
  if (text == "cpu") return Device::cpu();
  if (text == "auto") return cuda_unavailable_reason().empty() ? Device::cuda() : Device::cpu();
  Device device = Device::cuda();
  bool valid = text == "cuda";
  if (text.starts_with("cuda:")) {
    const std::string_view number = text.substr(5);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), device.index);
    valid = error == std::errc() && end == number.data() + number.size() && device.index >= 0;
  }
  if (!valid) {
    throw InvalidArgument(fmt::format("device: \"{}\", expected cpu, cuda, cuda:N or auto", escape(text)));
  }
  backend(device);
  return device;
}

std::string to_string(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

void synchronize(Device device) { backend(device).runtime->synchronize(); }

MemoryInfo memory_info(Device device) { return backend(device).runtime->memory(); }

void empty_cache(Device device) { backend(device).runtime->empty_cache(); }

}  // namespace descent
