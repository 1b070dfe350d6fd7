// Where a tensor lives.
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
// Throws InvalidArgument on anything else, and DeviceError, with the reason, for a CUDA device that is not there.
DESCENT_API Device parse_device(std::string_view text);
DESCENT_API std::string to_string(Device device);  // "cpu", "cuda:0"

// The reason why no CUDA device can be used, as a sentence; empty when one can.
DESCENT_API std::string cuda_unavailable_reason();

// The CUDA devices of this machine, cuda:0 first; none where cuda_unavailable_reason() says why.
struct CudaDeviceInfo {
  std::string name;
  std::uint64_t memory = 0;  // bytes
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;   // on which blocks run
  int driver = 0;            // the newest CUDA that the driver knows, 1000 * major + 10 * minor
};
DESCENT_API std::vector<CudaDeviceInfo> cuda_devices();
DESCENT_API std::string device_name(Device device);  // "cpu", "cuda:0 (NVIDIA H200)"

// What the CUDA backend was built with: libraries of NVIDIA's, and the compute capabilities that it has code for. Empty
// without the backend. Asking starts nothing on a device.
struct CudaLibrary {
  std::string name;     // "cudart", "cuBLAS", "cuDNN"
  std::string built;    // the version whose headers were compiled
  std::string running;  // the version that was found at run time; empty where it could not be asked
};
struct CudaBuild {
  std::vector<std::string> architectures;  // "8.6", "9.0"; later ones of the same major version run that code too
  std::vector<CudaLibrary> libraries;
};
DESCENT_API CudaBuild cuda_build();
// Whether convolutions on the device go to cuDNN: empty if so, else the reason why kernels of ours do all of them. The
// first call starts cuDNN, as a first convolution does. Throws DeviceError for a device that is not there.
DESCENT_API std::string cudnn_unavailable_reason(Device device);

// Waits until all work queued on the device is done.
DESCENT_API void synchronize(Device device);

struct MemoryInfo {
  std::uint64_t bytes_in_use;  // held by live tensors
  std::uint64_t bytes_peak;    // the most that was held at once
  std::uint64_t bytes_cached;  // freed by tensors, kept for the next ones
};
DESCENT_API MemoryInfo memory_info(Device device);
DESCENT_API void empty_cache(Device device);

// How CUDA devices may round the inputs of matrix products and convolutions of f32: a setting of the process, read by
// each of them as it is queued, so a captured step keeps the one that it was captured with. f64 and the CPU compute
// everything in their own type. Mixed precision in bf16 is no such setting, but the type of a model's input: what it
// computes from bf16 is stored in bf16 (dtype.h; TrainerOptions::dtype).
enum class Precision : std::uint8_t {
  f32,  // not at all: the default
  tf32  // to TF32 (10 bits of mantissa) on tensor cores; sums in f32
};
DESCENT_API void set_precision(Precision precision);
DESCENT_API Precision precision();
DESCENT_API Precision parse_precision(std::string_view text);  // throws InvalidArgument for another name
DESCENT_API std::string_view name_of(Precision precision);     // "f32", "tf32"

// CPU worker threads of this process; results never depend on the number. 0, and a process that never calls it: the
// environment's DESCENT_NUM_THREADS, and where that is absent or 0 one per CPU of the affinity mask, but no more than
// the quota of the process's cgroup allows. Throws InvalidArgument for another number than 0 to kMaxThreads, also in
// DESCENT_NUM_THREADS, and inside a parallel task.
inline constexpr int kMaxThreads = 1024;
DESCENT_API void set_num_threads(int threads);
DESCENT_API int num_threads();

}  // namespace descent
