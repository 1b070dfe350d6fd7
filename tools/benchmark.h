// Measurements of the command `descent bench`: medians of blocks, after a warm-up.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "descent/bench.h"

namespace descent::cli {

struct JobOptions {
  std::string model;
  std::string data;  // empty: MNIST where it is at hand, else random pixels
  std::int64_t batch_size = 128;
  std::int64_t steps = 0;  // per block; 0: about half a second
  std::int64_t blocks = 7;
  std::string dtype = "f32";
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
std::vector<KernelRow> bench_kernels(const std::string& filter, const Peak& peak);

double median(std::vector<double> values);

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace descent::cli
