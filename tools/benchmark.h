// Measurements of the command `descent bench`: medians of blocks, after a warm-up.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "descent/bench.h"
#include "descent/device.h"
#include "descent/dtype.h"

namespace descent::cli {

struct JobOptions {
  std::string model;
  std::string data;  // empty: MNIST where it is at hand, else random pixels
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
  double gflops = 0;  // multiply-adds count two; no gradient for the first layer's input
};

// Whole training steps through Trainer: gather, normalization, forward, loss, backward, Adam.
JobResult bench_training(const JobOptions& options);
// Forward only, in evaluation mode, one image at a time.
JobResult bench_inference(const JobOptions& options);

struct KernelRow {
  std::string op, size;
  double seconds = 0;  // median
  double rate = 0;     // GFLOP/s or GB/s
  bool is_flops = false;
  double share = 0;  // of the machine's peak
};
std::vector<KernelRow> bench_kernels(const std::string& filter, const Peak& peak, Device device);

// What the device does at best, measured now: of a CUDA device the rate of a product of 4096 x 4096 matrices in the
// precision that is set (`activations`: bf16 or f32), and of copying a large tensor (read + written).
Peak peak_of(Device device, DType activations = DType::f32);

// Bytes of a tensor that no cache holds: 1 GiB on a GPU that has room for it. On the CPU 32 MiB.
std::int64_t large_bytes(Device device);

double median(std::vector<double> values);
// Seconds per call: the median of blocks of about `block_seconds`, after a warm-up. The calls go round `calls`, so that
// on a GPU none finds its inputs in the cache because it has just read them.
double seconds_per_call(const std::vector<std::function<void()>>& calls, Device device, double block_seconds);

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace descent::cli
