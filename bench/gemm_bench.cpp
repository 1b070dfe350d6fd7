// Matrix products of training and inference: GFLOP/s of descent's kernels and of OpenBLAS, if it is installed, and
// their share of the multiply-add peak measured in the same run.
//   gemm_bench [THREADS]
//   DESCENT_SIMD_LEVEL=base OPENBLAS_CORETYPE=Nehalem gemm_bench [THREADS]   both with SSE only; without
//                                                                            OPENBLAS_CORETYPE OpenBLAS takes its best
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "cpu/gemm/gemm.h"
#include "cpu/runtime/peak.h"
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

// OpenBLAS, loaded at run time, so that building does not need it. Debian: libopenblas0-serial or a variant. It uses
// its own threads and is never called from two of ours at once: Debian's serial build is not safe for that.
class OpenBlas {
 public:
  OpenBlas() : library_(dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr) return;
    find("cblas_sgemm", sgemm_);
    find("cblas_dgemm", dgemm_);
    void (*set_threads)(int) = nullptr;
    find("openblas_set_num_threads", set_threads);
    if (set_threads != nullptr) set_threads(num_threads());
    char* (*core)() = nullptr;
    find("openblas_get_corename", core);
    if (core != nullptr) core_ = core();
  }

  bool available() const { return sgemm_ != nullptr && dgemm_ != nullptr; }
  const std::string& core() const { return core_; }  // "Nehalem", "Zen"
  void multiply(const GemmDesc& g, const float* a, const float* b, float* c) const { call(sgemm_, g, a, b, c); }
  void multiply(const GemmDesc& g, const double* a, const double* b, double* c) const { call(dgemm_, g, a, b, c); }

 private:
  template <class T>
  using Function = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, T alpha, const T* a,
                            int lda, const T* b, int ldb, T beta, T* c, int ldc);

  template <class F>
  void find(const char* name, F& function) const {
    function = reinterpret_cast<F>(dlsym(library_, name));
  }
  template <class T>
  static void call(Function<T> gemm, const GemmDesc& g, const T* a, const T* b, T* c) {
    constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;  // of the CBLAS interface
    const auto m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
    gemm(kRowMajor, g.transpose_a ? kTranspose : kNoTranspose, g.transpose_b ? kTranspose : kNoTranspose, m, n, k, T{1},
         a, g.transpose_a ? m : k, b, g.transpose_b ? k : n, T{0}, c, n);
  }

  void* library_;
  Function<float> sgemm_ = nullptr;
  Function<double> dgemm_ = nullptr;
  std::string core_;
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
void run(const char* type, double peak, const OpenBlas& openblas) {
  bench::print("\n{:<20} {:>16} {:>22} {:>22} {:>7} {:>12}\n", type, "m x n x k", "descent GFLOP/s (peak)",
               openblas.available() ? "OpenBLAS GFLOP/s (peak)" : "", openblas.available() ? "ratio" : "", "descent");
  for (const Case& c : kCases) {
    GemmDesc g;
    g.transpose_a = c.transpose_a;
    g.transpose_b = c.transpose_b;
    g.m = c.m;
    g.n = c.n;
    g.k = c.k;
    const auto a = numbers<T>(c.m * c.k), b = numbers<T>(c.k * c.n);
    std::vector<T> out(static_cast<std::size_t>(c.m * c.n));
    const double gflop = 2e-9 * static_cast<double>(c.m * c.n * c.k);
    const auto seconds = bench::median_of_each(
        [&] { cpu::gemm_tiled<T>(cpu::gemm_kernels<T>(), g, a.data(), b.data(), nullptr, out.data()); },
        [&] {
          if (openblas.available()) openblas.multiply(g, a.data(), b.data(), out.data());
        });
    const auto rate = [&](double s) { return fmt::format("{:.1f} ({:>4.0f} %)", gflop / s, 100 * gflop / s / peak); };
    bench::print("{:<20} {:>16} {:>22} {:>22} {:>7} {:>9.1f} us\n", c.name, fmt::format("{}x{}x{}", c.m, c.n, c.k),
                 rate(seconds[0]), openblas.available() ? rate(seconds[1]) : "",
                 openblas.available() ? fmt::format("{:.2f}x", seconds[1] / seconds[0]) : "", 1e6 * seconds[0]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  const double peak = cpu::fma_peak();
  const OpenBlas openblas;
  bench::print("{} threads, {}: multiply-add peak {:.1f} GFLOP/s (f32); OpenBLAS: {}\n", num_threads(),
               cpu::to_string(cpu::simd_level()), peak, openblas.available() ? openblas.core() : "not installed");
  run<float>("f32", peak, openblas);
  run<double>("f64", peak / 2, openblas);
}
