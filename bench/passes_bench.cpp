// Passes over memory: normalization, pooling and optimizers, in GB/s of the bytes that they must move at least, beside
// the copy rate of the same run. Usage: bench_passes_bench [THREADS]
#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "backend.h"
#include "cpu/families.h"
#include "cpu/peak.h"
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
  Norm* const norm = cpu::norm_family();
  const double large = x.megabytes(), small = pooled.megabytes() * 1.25;
  const std::string of = to_string(shape);
  report(fmt::format("batch norm + relu, train {}", of).c_str(), 3 * large,
         [&] { norm->batch_train(s, x, Activation::relu, y, mean, inv_std); });
  report("  backward", 7 * large,
         [&] { norm->batch_backward(true, Activation::relu, x, y, dy, gamma, mean, inv_std, dx, dgamma, dbeta); });
  report("  with relu and pool, train", 2 * large + small,
         [&] { norm->batch_train_relu_pool(s, x, pooled, code, mean, inv_std); });
  report("  with relu and pool, backward", 3 * large + 2 * small,
         [&] { norm->batch_backward_relu_pool(x, dpooled, code, gamma, mean, inv_std, dx, dgamma, dbeta); });
  report("  max pool", large + small, [&] { cpu::pool_family()->max_forward({}, x, pooled, code); });
  report("  max pool, backward", large + small, [&] { cpu::pool_family()->max_backward({}, dpooled, code, dx); });
  report("  average pool", large + pooled.megabytes(), [&] { cpu::pool_family()->average_forward({}, x, pooled); });
}

void layer_norm(std::int64_t rows, std::int64_t n) {
  Buffer x({rows, n}), y({rows, n}), dy({rows, n}), dx({rows, n}), gamma({n}), beta({n}), mean({rows}), inv_std({rows});
  Buffer dgamma({n}), dbeta({n});
  Norm* const norm = cpu::norm_family();
  report(fmt::format("layer norm [{}, {}]", rows, n).c_str(), 2 * x.megabytes(),
         [&] { norm->layer(x, gamma, beta, 1e-5, y, mean, inv_std); });
  report("  backward", 5 * x.megabytes(),
         [&] { norm->layer_backward(x, dy, gamma, mean, inv_std, dx, dgamma, dbeta); });
}

void optimizers(std::int64_t n) {
  Buffer param({n}), grad({n}), first({n}), second({n});
  std::fill(second.values.begin(), second.values.end(), 1.0F);
  double lr = 1e-6, step = 4, rates[3] = {};
  std::int32_t nonfinite = 0;
  const View number{&step, {1}, DType::f64}, made{rates, {3}, DType::f64};
  const StepState s{{&lr, {1}, DType::f64}, number, {&nonfinite, {1}, DType::i32}, made};
  Optim* const optim = cpu::optim_family();
  optim->advance_adam({}, s.lr, number, made);
  const double one = param.megabytes();
  report(fmt::format("adam, {} parameters", n).c_str(), 7 * one,
         [&] { optim->adam({}, s, param, grad, first, second); });
  report("  sgd", 3 * one, [&] { optim->sgd({}, s, param, grad, {}); });
  report("  sgd with momentum", 5 * one, [&] { optim->sgd({0.9, 0, 0, false}, s, param, grad, first); });
  report("  rmsprop", 5 * one, [&] { optim->rmsprop({}, s, param, grad, second, {}, {}); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  copy_rate = cpu::copy_rate();
  bench::print("{} threads, {}: copy rate {:.1f} GB/s\n", num_threads(), cpu::name_of(cpu::simd_level()), copy_rate);
  batch_norm({128, 28, 28, 32});
  batch_norm({128, 14, 14, 64});
  layer_norm(4096, 512);
  optimizers(669706);
  optimizers(421642);
  optimizers(20'000'000);
}
