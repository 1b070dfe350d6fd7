// Timing for `descent bench`, and the peaks it compares with. Uses the public API alone, so it works for any device.
#include <algorithm>

#include "benchmark.h"
#include "descent/ops.h"
#include "descent/random.h"

namespace descent::cli {
namespace {

constexpr int kTimingBlocks = 7;
constexpr std::int64_t kPeakMatrix = 4096;

std::vector<std::function<void()>> copies_of_large_tensors(Device device) {
  const std::int64_t elements = large_bytes(device) / 4;
  Tensor to = Tensor::zeros({elements}, DType::f32, device);
  const Tensor from = Tensor::full({elements}, 1.5, DType::f32, device);
  return {[=]() mutable { to.copy_from(from); }};
}

std::vector<std::function<void()>> large_products(Device device, DType type) {
  Generator generator(3, 0, device);
  const Tensor a = generator.normal({kPeakMatrix, kPeakMatrix}).to(type),
               b = generator.normal({kPeakMatrix, kPeakMatrix}).to(type);
  return {[=] { matmul(a, b); }};
}

}  // namespace

std::int64_t large_bytes(Device device) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  if (device.type == DeviceType::cpu) return kMost / 32;
  const std::vector<CudaDeviceInfo> known = cuda_devices();
  std::int64_t bytes = kMost;
  while (bytes > static_cast<std::int64_t>(known.at(static_cast<std::size_t>(device.index)).memory) / 16) bytes /= 2;
  return bytes;
}

double seconds_per_call(const std::vector<std::function<void()>>& calls, Device device, double block_seconds) {
  std::size_t turn = 0;
  const auto time = [&](std::int64_t repeats) {
    synchronize(device);
    const double begin = now();
    for (std::int64_t i = 0; i < repeats; ++i, turn = (turn + 1) % calls.size()) calls[turn]();
    synchronize(device);
    return (now() - begin) / static_cast<double>(repeats);
  };
  time(2 * static_cast<std::int64_t>(calls.size()));
  const double once = std::max(time(static_cast<std::int64_t>(calls.size())), 1e-9);
  const auto repeats = std::max<std::int64_t>(1, static_cast<std::int64_t>(block_seconds / once));
  std::vector<double> seconds;
  seconds.reserve(kTimingBlocks);
  for (int block = 0; block < kTimingBlocks; ++block) seconds.push_back(time(repeats));
  return median(seconds);
}

Peak peak_of(Device device, DType activations) {
  if (device.type == DeviceType::cpu) return measure_peak();
  Peak peak;
  const double product = seconds_per_call(large_products(device, activations), device, 0.1);
  peak.gflops_f32 = 2.0 * static_cast<double>(kPeakMatrix * kPeakMatrix * kPeakMatrix) / product * 1e-9;
  const double copy = seconds_per_call(copies_of_large_tensors(device), device, 0.05);
  peak.copy_gb_s = 2.0 * static_cast<double>(large_bytes(device)) / copy * 1e-9;
  return peak;
}

}  // namespace descent::cli
