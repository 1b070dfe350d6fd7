// Device names, the matmul precision, and calls that act on a whole device.
#include "descent/device.h"

#include <fmt/format.h>

#include <atomic>
#include <charconv>

#include "backend/backend.h"
#include "descent/error.h"

namespace descent {
namespace {

std::atomic<Precision> current_precision{Precision::f32};

bool cuda_works() {
  if (!cuda_unavailable_reason().empty()) return false;
  try {
    backend(Device::cuda());
    return true;
  } catch (const DeviceError&) {  // no code for its architecture in this build, or in exclusive use: `cuda` reports why
    return false;
  }
}

}  // namespace

Device parse_device(std::string_view text) {
  if (text == "cpu") return Device::cpu();
  if (text == "auto") return cuda_works() ? Device::cuda() : Device::cpu();
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

std::string device_name(Device device) {
  if (device.type == DeviceType::cpu) return "cpu";
  const std::vector<CudaDeviceInfo> known = cuda_devices();
  const auto index = static_cast<std::size_t>(device.index);
  return index < known.size() ? fmt::format("{} ({})", to_string(device), known[index].name) : to_string(device);
}

void set_matmul_precision(Precision precision) { current_precision.store(precision, std::memory_order_relaxed); }

Precision precision() { return current_precision.load(std::memory_order_relaxed); }

Precision parse_precision(std::string_view text) {
  for (const Precision known : {Precision::f32, Precision::tf32}) {
    if (text == to_string(known)) return known;
  }
  throw InvalidArgument(fmt::format("precision: \"{}\", expected f32 or tf32", escape(text)));
}

std::string_view to_string(Precision precision) { return precision == Precision::tf32 ? "tf32" : "f32"; }

void synchronize(Device device) { backend(device).runtime->synchronize(); }

MemoryInfo memory_info(Device device) { return backend(device).runtime->memory(); }

void empty_cache(Device device) { backend(device).runtime->empty_cache(); }

}  // namespace descent
