// Devices: names and properties, memory, precision and CPU threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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
// Throws InvalidArgument on anything else, and DeviceError, with the reason, for a CUDA device that is not available.
DESCENT_API Device parse_device(std::string_view text);
DESCENT_API std::string to_string(Device device);  // "cpu", "cuda:0"

// Why no CUDA device can be used, as a sentence; empty if one can.
DESCENT_API std::string cuda_unavailable_reason();

// The CUDA devices of this machine, cuda:0 first; empty if none can be used (cuda_unavailable_reason() says why).
struct CudaDeviceInfo {
  std::string name;
  std::uint64_t memory = 0;  // bytes
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;   // streaming multiprocessors
  int driver = 0;            // the newest CUDA version that the driver supports, 1000 * major + 10 * minor
};
DESCENT_API std::vector<CudaDeviceInfo> cuda_devices();
DESCENT_API std::string device_name(Device device);  // "cpu", "cuda:0 (NVIDIA H200)"

// What the CUDA backend was built with: NVIDIA's libraries, and the compute capabilities that it contains code for.
// Empty without the backend. The query initializes no device.
struct CudaLibrary {
  std::string name;     // "cudart", "cuBLAS", "cuDNN"
  std::string built;    // the version of the headers at compile time
  std::string running;  // the version found at run time; empty if it could not be queried
};
struct CudaBuild {
  std::vector<std::string> architectures;  // "8.6", "9.0"; that code also runs on later minor versions
  std::vector<CudaLibrary> libraries;
};
DESCENT_API CudaBuild cuda_build();
// Empty if convolutions on the device use cuDNN, else the reason why descent's own kernels compute all of them. The
// first call initializes cuDNN, as a first convolution does. Throws DeviceError for a device that is not available.
DESCENT_API std::string cudnn_unavailable_reason(Device device);

// Waits until all work queued on the device is complete.
DESCENT_API void synchronize(Device device);

struct MemoryInfo {
  std::uint64_t bytes_in_use;  // held by live tensors
  std::uint64_t bytes_peak;    // the maximum so far
  std::uint64_t bytes_cached;  // freed by tensors, cached for reuse
};
DESCENT_API MemoryInfo memory_info(Device device);
DESCENT_API void empty_cache(Device device);

// How CUDA devices may round the f32 inputs of matrix products and convolutions. The setting is process-wide, and
// each op reads it when it is queued, so a captured step keeps the one it was captured with. f64 and the CPU always
// compute in their own type. bf16 mixed precision is not such a setting: it follows from the type of a model's input,
// and what is computed from bf16 is stored in bf16 (dtype.h; TrainerOptions::dtype).
enum class Precision : std::uint8_t {
  f32,  // no rounding: the default
  tf32  // to TF32 (10 bits of mantissa) on tensor cores; accumulation in f32
};
DESCENT_API void set_matmul_precision(Precision precision);
DESCENT_API Precision precision();
DESCENT_API Precision parse_precision(std::string_view text);  // throws InvalidArgument for another name
DESCENT_API std::string_view to_string(Precision precision);   // "f32", "tf32"

// CPU worker threads of this process; results never depend on their number. 0, or never calling set_num_threads,
// means the environment variable DESCENT_NUM_THREADS; if that is unset or 0, one thread per CPU in the affinity mask,
// limited by the CPU quota of the process's cgroup. Throws InvalidArgument inside a parallel task, and for a number
// outside 0 to kMaxThreads, including one from DESCENT_NUM_THREADS.
inline constexpr int kMaxThreads = 1024;
DESCENT_API void set_num_threads(int threads);
DESCENT_API int num_threads();

}  // namespace descent
