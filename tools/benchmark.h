// Measurements of the command `descent bench`: medians of blocks, after a warm-up.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "descent/device.h"
#include "descent/dtype.h"
#include "descent/machine.h"
#include "descent/train.h"

namespace descent::cli {

struct JobOptions {
  std::string model;
  std::string data;  // empty: MNIST if it is available locally, else random pixels
  std::int64_t batch_size = 128;
  std::int64_t steps = 0;  // per block; 0: about half a second
  std::int64_t blocks = 7;
  std::string dtype = "f32", precision = "f32";
  Device device;
  bool no_graph = false;
};

struct JobResult {
  std::string data;
  std::int64_t steps = 0;
  std::vector<double> block_seconds;
  double median_seconds = 0;  // of a block
  double images_per_second = 0;
  double gflops = 0;             // multiply-adds count two; no gradient for the first layer's input
  std::int64_t graph_nodes = 0;  // of a training step's CUDA graph; 0 without one
};

// Whole training steps through Trainer: gather, normalization, forward, loss, backward, Adam.
JobResult bench_training(const JobOptions& options);
// The training that bench_training times: runs until `done`, polled after each step, returns true. `watch` sees
// every step. Returns the model's floating-point operations per step and image, the name of the data, and the
// number of nodes of the captured step.
struct WatchedTraining {
  double flops = 0;
  std::string data;
  std::int64_t graph_nodes = 0;
};
WatchedTraining train_watched(const JobOptions& options, const std::shared_ptr<train::Callback>& watch,
                              const std::function<bool()>& done);
// Forward only, in evaluation mode, one image at a time.
JobResult bench_inference(const JobOptions& options);

// One row of the table of kernels: an op at one size.
struct KernelCase {
  std::string op, size;
  double work = 0;  // bytes or floating-point operations
  bool is_flops = false;
  std::function<std::function<void()>()> prepare;  // creates the inputs and returns the function to be timed
};
// The cases with `filter` in their name; `scale` multiplies the first axis of the large tensors.
std::vector<KernelCase> kernel_cases(const std::string& filter, Device device, std::int64_t scale);

struct KernelRow {
  std::string op, size;
  double seconds = 0;  // median
  double rate = 0;     // GFLOP/s or GB/s
  bool is_flops = false;
  double share = 0;  // of the machine's peak
};
std::vector<KernelRow> bench_kernels(const std::string& filter, const Peak& peak, Device device);

#if defined(DESCENT_SIMULATED)
// What `descent bench --device cuda` does in a build for the simulated device: shows counters instead of times, for
// the kernels of each row of the table or for one training step of the job's model.
int bench_simulated_kernels(const std::string& filter, Device device, bool json);
int bench_simulated_training(const JobOptions& options, bool json);
#endif

// The peaks of the device, measured now. For a CUDA device: a product of 4096 x 4096 matrices in the precision that is
// set (`activations`: bf16 or f32), and the rate of copying a large tensor (read + written).
Peak peak_of(Device device, DType activations = DType::f32);

// Size of a tensor that exceeds every cache, in bytes: 1 GiB on a GPU with enough memory, 32 MiB on the CPU.
std::int64_t large_bytes(Device device);

double median(std::vector<double> values);
// Seconds per call: the median of blocks of about `block_seconds`, after a warm-up. Cycles through `calls`, so that on
// a GPU a call does not find its inputs in the cache because it has just read them.
double seconds_per_call(const std::vector<std::function<void()>>& calls, Device device, double block_seconds);

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace descent::cli
