// Where a tensor lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "descent/export.h"

namespace descent {

enum class DeviceType : std::uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index = 0) { return {DeviceType::cuda, index}; }
  friend bool operator==(const Device&, const Device&) = default;
};

// "cpu", "cuda", "cuda:1" or "auto" (the first CUDA device if one is usable, else the CPU).
// Throws InvalidArgument on anything else, and DeviceError, with the reason, for a CUDA device that is not there.
DESCENT_API Device parse_device(std::string_view text);
DESCENT_API std::string to_string(Device device);  // "cpu", "cuda:0"

// The reason why no CUDA device can be used, as a sentence; empty when one can.
DESCENT_API std::string cuda_unavailable_reason();

// Waits until all work queued on the device is done.
DESCENT_API void synchronize(Device device);

struct MemoryInfo {
  std::uint64_t bytes_in_use;  // held by live tensors
  std::uint64_t bytes_peak;    // the most that was held at once
  std::uint64_t bytes_cached;  // freed by tensors, kept for the next ones
};
DESCENT_API MemoryInfo memory_info(Device device);
DESCENT_API void empty_cache(Device device);

// CPU worker threads of this process; results never depend on the number. 0 means one per core that we may run on.
DESCENT_API void set_num_threads(int threads);
DESCENT_API int num_threads();

}  // namespace descent
