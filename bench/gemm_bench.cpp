// Matrix products of training and inference: GFLOP/s of our own kernels and of OpenBLAS, and their share of the
// multiply-add peak that is measured in the same run. Usage: bench_gemm_bench [THREADS]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cpu/gemm.h"
#include "cpu/peak.h"
#include "descent/device.h"
#include "measure.h"

namespace {

using namespace descent;

struct Case {
  const char* name;
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
};

constexpr Case kCases[] = {
    {"mlp 1 forward", false, true, 128, 512, 784},     {"mlp 2 forward", false, true, 128, 512, 512},
    {"mlp 3 forward", false, true, 128, 10, 512},      {"mlp 2 dX", false, false, 128, 512, 512},
    {"mlp 3 dX", false, false, 128, 512, 10},          {"mlp 1 dW", true, false, 512, 784, 128},
    {"mlp 2 dW", true, false, 512, 512, 128},          {"mlp 3 dW", true, false, 10, 512, 128},
    {"cnn fc1 forward", false, true, 128, 128, 3136},  {"cnn fc1 dX", false, false, 128, 3136, 128},
    {"cnn fc1 dW", true, false, 128, 3136, 128},       {"cnn fc2 forward", false, true, 128, 10, 128},
    {"cnn fc2 dX", false, false, 128, 128, 10},        {"cnn fc2 dW", true, false, 10, 128, 128},
    {"lenet fc1 forward", false, true, 128, 120, 400}, {"lenet fc1 dX", false, false, 128, 400, 120},
    {"lenet fc1 dW", true, false, 120, 400, 128},      {"lenet fc2 forward", false, true, 128, 84, 120},
    {"batch 1, mlp 1", false, true, 1, 512, 784},      {"batch 1, mlp 2", false, true, 1, 512, 512},
    {"batch 1, mlp 3", false, true, 1, 10, 512},       {"batch 1, cnn fc1", false, true, 1, 128, 3136},
    {"batch 8, mlp 1", false, true, 8, 512, 784},      {"square", false, false, 1024, 1024, 1024},
    {"square TT", true, true, 1024, 1024, 1024},
};

template <class T>
std::vector<T> numbers(std::int64_t n) {
  std::vector<T> v(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (T& x : v) {
    state = state * 1664525U + 1013904223U;
    x = static_cast<T>(state >> 8) / static_cast<T>(1 << 23) - 1;
  }
  return v;
}

template <class T>
void run(const char* type, double peak) {
  bench::print("\n{:<20} {:>16} {:>22} {:>22}\n", type, "m x n x k", "own GFLOP/s (peak)", "OpenBLAS GFLOP/s (peak)");
  for (const Case& c : kCases) {
    Gemm g;
    g.transpose_a = c.transpose_a;
    g.transpose_b = c.transpose_b;
    g.m = c.m;
    g.n = c.n;
    g.k = c.k;
    g.activation = Activation::relu;
    const auto a = numbers<T>(c.m * c.k), b = numbers<T>(c.k * c.n), bias = numbers<T>(c.n);
    std::vector<T> out(static_cast<std::size_t>(c.m * c.n));
    const double gflop = 2e-9 * static_cast<double>(c.m * c.n * c.k);
    const auto* kernels = cpu::gemm_kernels<T>();
    const auto seconds = bench::median_of_each(
        [&] {
          kernels != nullptr ? cpu::gemm_tiled(*kernels, g, a.data(), b.data(), bias.data(), out.data()) : void();
        },
        [&] { cpu::gemm_blas(g, a.data(), b.data(), bias.data(), out.data()); });
    bench::print("{:<20} {:>16} {:>12.1f} ({:>4.0f} %) {:>12.1f} ({:>4.0f} %)  {:>9.1f} us\n", c.name,
                 fmt::format("{}x{}x{}", c.m, c.n, c.k), gflop / seconds[0], 100 * gflop / seconds[0] / peak,
                 gflop / seconds[1], 100 * gflop / seconds[1] / peak, 1e6 * seconds[0]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  const double peak = cpu::fma_peak();
  bench::print("{} threads, {}: multiply-add peak {:.1f} GFLOP/s (f32)\n", num_threads(),
               cpu::name_of(cpu::simd_level()), peak);
  run<float>("f32", peak);
  run<double>("f64", peak / 2);
}
