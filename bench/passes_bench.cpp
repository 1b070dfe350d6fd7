// Memory-bound ops: normalization, pooling and optimizers, in GB/s of the bytes that they must move at least, compared
// with the copy rate of the same run. Usage: passes_bench [THREADS]
#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "backend/backend.h"
#include "core/fusion.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/peak.h"
#include "descent/device.h"
#include "measure.h"

namespace {

using namespace descent;

struct Buffer {
  std::vector<float> values;
  Shape shape;

  explicit Buffer(const Shape& s) : values(static_cast<std::size_t>(s.numel())), shape(s) {
    std::uint32_t state = 1;
    for (float& v : values) {
      state = state * 1664525U + 1013904223U;
      v = static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
    }
  }
  operator View() { return {values.data(), shape, DType::f32}; }
  operator ConstView() { return {values.data(), shape, DType::f32}; }
  operator Grad() { return {View(*this), Write::overwrite}; }
  double megabytes() const { return static_cast<double>(values.size()) * sizeof(float) * 1e-6; }
};

double copy_rate = 0;

template <class F>
void report(const char* name, double megabytes, const F& f) {
  const double seconds = bench::median_of_each(f)[0];
  const double rate = megabytes * 1e-3 / seconds;
  bench::print("{:<44} {:>8.1f} MB {:>9.1f} us {:>7.1f} GB/s ({:>3.0f} % of the copy rate)\n", name, megabytes,
               1e6 * seconds, rate, 100 * rate / copy_rate);
}

void batch_norm(const Shape& shape) {
  const Shape row{shape[3]}, half{shape[0], shape[1] / 2, shape[2] / 2, shape[3]};
  Buffer x(shape), y(shape), dy(shape), dx(shape), gamma(row), beta(row), mean(row), inv_std(row), dgamma(row),
      dbeta(row);
  Buffer pooled(half), dpooled(half);
  std::vector<std::uint8_t> codes(pooled.values.size());
  const View code{codes.data(), half, DType::u8};
  BatchNormState s;
  s.gamma = gamma;
  s.beta = beta;
  Norm* const norm = cpu::norm_ops();
  const double large = x.megabytes(), small = pooled.megabytes() * 1.25;
  const std::string of = to_string(shape);
  report(fmt::format("batch norm + relu, train {}", of).c_str(), 3 * large,
         [&] { norm->batch_train(s, x, Activation::relu, y, mean, inv_std); });
  report("  backward", 7 * large,
         [&] { norm->batch_backward(true, Activation::relu, x, y, dy, gamma, mean, inv_std, dx, dgamma, dbeta); });
  report("  with relu and pool, train", 2 * large + small,
         [&] { norm->batch_train(s, x, kReluMaxPool, pooled, mean, inv_std, code); });
  report("  with relu and pool, backward", 3 * large + 2 * small,
         [&] { norm->batch_backward(true, kReluMaxPool, x, code, dpooled, gamma, mean, inv_std, dx, dgamma, dbeta); });
  report("  max pool", large + small, [&] { cpu::pool_ops()->max_forward({}, x, pooled, code); });
  report("  max pool, backward", large + small, [&] { cpu::pool_ops()->max_backward({}, dpooled, code, dx); });
  report("  average pool", large + pooled.megabytes(), [&] { cpu::pool_ops()->average_forward({}, x, pooled); });
}

void layer_norm(std::int64_t rows, std::int64_t n) {
  Buffer x({rows, n}), y({rows, n}), dy({rows, n}), dx({rows, n}), gamma({n}), beta({n}), mean({rows}), inv_std({rows});
  Buffer dgamma({n}), dbeta({n});
  Norm* const norm = cpu::norm_ops();
  report(fmt::format("layer norm [{}, {}]", rows, n).c_str(), 2 * x.megabytes(),
         [&] { norm->layer(x, gamma, beta, 1e-5, y, mean, inv_std); });
  report("  backward", 5 * x.megabytes(),
         [&] { norm->layer_backward(x, dy, gamma, mean, inv_std, dx, dgamma, dbeta); });
}

void optimizers(std::int64_t n) {
  Buffer param({n}), grad({n}), first({n}), second({n});
  std::fill(second.values.begin(), second.values.end(), 1.0F);
  double lr = 1e-6, step = 4, coefficients[kStepCoefficients] = {};
  std::int32_t nonfinite = 0;
  const View number{&step, {1}, DType::f64}, made{coefficients, {kStepCoefficients}, DType::f64};
  const StepState s{{&lr, {1}, DType::f64}, number, {&nonfinite, {1}, DType::i32}, made};
  const double one = param.megabytes();
  const auto measure = [&](const std::string& name, double megabytes, const OptimRule& rule,
                           const std::vector<View>& states) {
    cpu::optim_ops()->advance(rule, s.lr, number, made);
    report(name.c_str(), megabytes, [&] { cpu::optim_ops()->update(rule, s, param, grad, states); });
  };
  measure(fmt::format("adam, {} parameters", n), 7 * one, Adam{}, {first, second});
  measure("  sgd", 3 * one, Sgd{}, {});
  measure("  sgd with momentum", 5 * one, Sgd{0.9, 0, 0, false}, {first});
  measure("  rmsprop", 5 * one, RmsProp{}, {second});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  copy_rate = cpu::copy_rate();
  bench::print("{} threads, {}: copy rate {:.1f} GB/s\n", num_threads(), cpu::to_string(cpu::simd_level()), copy_rate);
  batch_norm({128, 28, 28, 32});
  batch_norm({128, 14, 14, 64});
  layer_norm(4096, 512);
  optimizers(669706);
  optimizers(421642);
  optimizers(20'000'000);
}
