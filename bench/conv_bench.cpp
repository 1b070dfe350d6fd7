// The convolutions of the presets: medians, GFLOP/s and share of the multiply-add peak measured in the same run. The
// gradients of a convolution before a max pool count as dense, like the jobs' FLOPs: skipping their zeros can exceed
// the peak. Usage: conv_bench [THREADS]
#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "core/fusion.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/peak.h"
#include "descent/device.h"
#include "measure.h"

namespace {

using namespace descent;

struct Case {
  const char* name;
  std::int64_t images, size, channels, out, kernel, pad;
  bool first;  // the first layer's input needs no gradient
};

constexpr Case kCases[] = {
    {"cnn conv1", 128, 28, 1, 32, 3, 1, true},          {"cnn conv2", 128, 14, 32, 64, 3, 1, false},
    {"lenet5 conv1", 128, 28, 1, 6, 5, 2, true},        {"lenet5 conv2", 128, 14, 6, 16, 5, 0, false},
    {"64 channels", 32, 28, 64, 64, 3, 1, false},       {"cnn conv1, batch 1", 1, 28, 1, 32, 3, 1, true},
    {"cnn conv2, batch 1", 1, 14, 32, 64, 3, 1, false},
};

template <class T>
struct Array {
  explicit Array(const Shape& s, float scale = 1) : shape(s), values(static_cast<std::size_t>(s.numel())) {
    std::uint32_t state = 1;
    for (T& x : values) {
      state = state * 1664525U + 1013904223U;
      x = static_cast<T>((static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1) * scale);
    }
  }
  View view() { return {values.data(), shape, dtype_of<T>}; }
  Shape shape;
  std::vector<T> values;
};

// The machine's speed varies during a run, so the peak is measured in turn with the convolutions.
constexpr std::int64_t kPeakRounds = 30000;
double operations_for_peak() {
  return static_cast<double>(num_threads()) * cpu::peak_kernel().multiply_add(kPeakRounds);
}
void run_for_peak() {
  cpu::parallel_for(num_threads(), [](std::int64_t) { cpu::peak_kernel().multiply_add(kPeakRounds); });
}

void run(const Case& c) {
  Conv& conv = *cpu::backend().conv;
  const std::int64_t side = c.size + 2 * c.pad - c.kernel + 1;
  Conv2dFuncOptions g;
  g.padding_h = g.padding_w = c.pad;
  Array<float> x({c.images, c.size, c.size, c.channels}), w({c.out, c.kernel, c.kernel, c.channels}, 0.1F),
      bias({c.out}, 0.1F);
  Array<float> y({c.images, side, side, c.out}), dx(x.shape), dw(w.shape), dbias(bias.shape), dy(y.shape);
  Array<float> pooled({c.images, side / 2, side / 2, c.out}), dpooled(pooled.shape);
  Array<std::uint8_t> code(pooled.shape, 0);
  conv.forward(g, x.view(), w.view(), bias.view(), kReluMaxPool, pooled.view(), code.view());
  const Grad no_dx, to_dx{dx.view(), Write::overwrite}, to_dw{dw.view(), Write::overwrite},
      to_db{dbias.view(), Write::overwrite};
  const auto seconds = bench::median_of_each(
      [&] { conv.forward(g, x.view(), w.view(), bias.view(), Activation::relu, y.view()); },
      [&] { conv.backward_data(g, dy.view(), w.view(), to_dx); },
      [&] { conv.backward_filter(g, x.view(), dy.view(), to_dw); },
      [&] { conv.forward(g, x.view(), w.view(), bias.view(), kReluMaxPool, pooled.view(), code.view()); },
      [&] {
        conv.backward_pooled(g, x.view(), w.view(), dpooled.view(), code.view(), c.first ? no_dx : to_dx, to_dw, to_db);
      },
      run_for_peak);
  const double peak = operations_for_peak() / seconds.back() * 1e-9;
  const double gflop = 2e-9 * static_cast<double>(y.shape.numel() * w.shape.numel() / c.out);
  const char* names[] = {"forward", "backward_data", "backward_filter", "forward_pooled", "backward_pooled"};
  bench::print("{}, peak {:.1f} GFLOP/s\n", c.name, peak);
  for (std::size_t i = 0; i + 1 < seconds.size(); ++i) {
    const double work = i == 4 && !c.first ? 2 * gflop : gflop;
    bench::print("  {:<20} {:>10.1f} us {:>8.1f} GFLOP/s {:>5.0f} %\n", names[i], 1e6 * seconds[i], work / seconds[i],
                 100 * work / seconds[i] / peak);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  bench::print("{} threads, {}; shares of the multiply-add peak in the same seconds\n", num_threads(),
               cpu::to_string(cpu::simd_level()));
  for (const Case& c : kCases) run(c);
  return 0;
}
