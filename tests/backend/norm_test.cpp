// Normalization: the fast paths against the reference loops, gradients against central differences, difficult values.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/fusion.h"
#include "support/cpu_kernels.h"

namespace descent {
namespace {

using test::Fenced;

template <class T>
class NormTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(NormTest, Types);

template <class T>
struct Results {
  std::vector<Fenced<T>> values;
  Fenced<std::uint8_t> code{0};

  friend bool same_bits(const Results& a, const Results& b) {
    for (std::size_t i = 0; i < a.values.size(); ++i) {
      if (!same_bits(a.values[i], b.values[i])) return false;
    }
    return same_bits(a.code, b.code);
  }
  void expect_fences() const {
    for (const auto& v : values) EXPECT_TRUE(v.fences_hold());
    EXPECT_TRUE(code.fences_hold());
  }
};

// |a - b| <= tolerance * (the largest |b| + the largest 1 / std), tensor by tensor: every result is a difference
// multiplied by 1 / std, so its rounding error scales with that. Tensor 2 of the results holds 1 / std.
template <class T>
void expect_close(const Results<T>& a, const Results<T>& b, double tolerance) {
  double inv_std = 1e-3;
  for (std::int64_t i = 0; i < b.values[2].size(); ++i) inv_std = std::max(inv_std, double(b.values[2][i]));
  for (std::size_t t = 0; t < a.values.size(); ++t) {
    double largest = 0;
    for (std::int64_t i = 0; i < b.values[t].size(); ++i) largest = std::max(largest, std::abs(double(b.values[t][i])));
    for (std::int64_t i = 0; i < b.values[t].size(); ++i) {
      ASSERT_NEAR(double(a.values[t][i]), double(b.values[t][i]), tolerance * (largest + inv_std))
          << "tensor " << t << " element " << i;
    }
  }
}

template <class T>
double tolerance() {
  return std::is_same_v<T, float> ? 3e-6 : 1e-13;
}

struct Size {
  std::int64_t rows, channels;
};
const std::vector<Size> kSizes = {{0, 3},     {1, 1},     {1, 33},    {2, 5},    {31, 32}, {33, 31},
                                  {64, 6},    {1025, 1},  {7, 64},    {300, 8},  {10, 24}, {1025, 33},
                                  {9000, 16}, {70000, 3}, {20, 5000}, {513, 128}};

template <class T>
Results<T> run_batch(const Size& s, bool training, Activation activation, bool affine, Write write) {
  test::Numbers numbers(3);
  const Shape shape{s.rows, s.channels}, row{s.channels};
  const auto x = numbers.fenced<T>(shape.numel(), 2, 0.5), dy = numbers.fenced<T>(shape.numel());
  const auto gamma = numbers.fenced<T>(s.channels, 0.5, 1), beta = numbers.fenced<T>(s.channels, 0.3);
  Results<T> r;
  Fenced<T> y(shape.numel()), mean(s.channels), inv_std(s.channels);
  auto running_mean = numbers.fenced<T>(s.channels), running_var = numbers.fenced<T>(s.channels, 0.2, 1);
  auto dx = numbers.fenced<T>(shape.numel()), dgamma = numbers.fenced<T>(s.channels),
       dbeta = numbers.fenced<T>(s.channels);
  if (write == Write::overwrite)
    dx = Fenced<T>(shape.numel()), dgamma = Fenced<T>(s.channels), dbeta = Fenced<T>(s.channels);
  BatchNormState state;
  if (affine) state.gamma = gamma.view(row), state.beta = beta.view(row);
  state.running_mean = running_mean.view(row);
  state.running_var = running_var.view(row);
  Norm* const norm = cpu::norm_ops();
  if (training) {
    norm->batch_train(state, x.view(shape), activation, y.view(shape), mean.view(row), inv_std.view(row));
  } else {
    norm->batch_eval(state, x.view(shape), activation, y.view(shape));
    for (std::int64_t c = 0; c < s.channels; ++c) {
      mean[c] = running_mean[c];
      inv_std[c] = static_cast<T>(1 / std::sqrt(double(running_var[c]) + state.eps));
    }
  }
  norm->batch_backward(training, activation, x.view(shape), y.view(shape), dy.view(shape),
                       affine ? gamma.view(row) : ConstView(), mean.view(row), inv_std.view(row),
                       {dx.view(shape), write}, {dgamma.view(row), write}, {dbeta.view(row), write});
  r.values = {y, mean, inv_std, running_mean, running_var, dx, dgamma, dbeta};
  r.expect_fences();
  return r;
}

TYPED_TEST(NormTest, BatchAgreesWithThePlainLoops) {
  for (const Size& s : kSizes) {
    for (const bool training : {true, false}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        for (const Write write : {Write::overwrite, Write::accumulate}) {
          SCOPED_TRACE(::testing::Message() << s.rows << "x" << s.channels << (training ? " train" : " eval")
                                            << " relu " << (activation == Activation::relu));
          const bool affine = s.rows % 2 == 1;
          const auto run = [&] { return run_batch<TypeParam>(s, training, activation, affine, write); };
          const auto fast = test::same_for_all_threads(run);
          const test::ReferenceOnly reference;
          expect_close(fast, run(), tolerance<TypeParam>());
        }
      }
    }
  }
}

template <class T>
Results<T> run_pooled(const Shape& shape, Write write, bool apart) {
  test::Numbers numbers(5);
  const Shape row{shape[3]}, pooled{shape[0], shape[1] / 2, shape[2] / 2, shape[3]};
  const auto x = numbers.fenced<T>(shape.numel(), 2, 0.5), dy = numbers.fenced<T>(pooled.numel());
  const auto gamma = numbers.fenced<T>(shape[3], 1, 0.5), beta = numbers.fenced<T>(shape[3], 0.5, -0.5);
  Results<T> r;
  Fenced<T> y(pooled.numel()), mean(shape[3]), inv_std(shape[3]);
  auto dx = numbers.fenced<T>(shape.numel()), dgamma = numbers.fenced<T>(shape[3]), dbeta = numbers.fenced<T>(shape[3]);
  if (write == Write::overwrite)
    dx = Fenced<T>(shape.numel()), dgamma = Fenced<T>(shape[3]), dbeta = Fenced<T>(shape[3]);
  r.code = Fenced<std::uint8_t>(pooled.numel());
  BatchNormState state;
  state.gamma = gamma.view(row);
  state.beta = beta.view(row);
  Norm* const norm = cpu::norm_ops();
  const Grad to_x{dx.view(shape), write}, to_gamma{dgamma.view(row), write}, to_beta{dbeta.view(row), write};
  if (!apart) {
    norm->batch_train(state, x.view(shape), kReluMaxPool, y.view(pooled), mean.view(row), inv_std.view(row),
                      r.code.view(pooled));
    norm->batch_backward(true, kReluMaxPool, x.view(shape), r.code.view(pooled), dy.view(pooled), gamma.view(row),
                         mean.view(row), inv_std.view(row), to_x, to_gamma, to_beta);
  } else {
    Fenced<T> z(shape.numel()), dz(shape.numel());
    norm->batch_train(state, x.view(shape), Activation::relu, z.view(shape), mean.view(row), inv_std.view(row));
    cpu::pool_ops()->max_forward({}, z.view(shape), y.view(pooled), r.code.view(pooled));
    cpu::pool_ops()->max_backward({}, dy.view(pooled), r.code.view(pooled), {dz.view(shape), Write::overwrite});
    for (std::int64_t i = 0; i < y.size(); ++i) r.code[i] = y[i] <= 0 ? 4 : r.code[i];
    norm->batch_backward(true, Activation::relu, x.view(shape), z.view(shape), dz.view(shape), gamma.view(row),
                         mean.view(row), inv_std.view(row), to_x, to_gamma, to_beta);
  }
  r.values = {y, mean, inv_std, dx, dgamma, dbeta};
  r.expect_fences();
  return r;
}

TYPED_TEST(NormTest, PooledIsThePrimitivesOneAfterAnother) {
  for (const Shape& shape :
       {Shape{2, 4, 6, 3}, Shape{1, 2, 2, 1}, Shape{3, 7, 5, 8}, Shape{2, 5, 9, 33}, Shape{0, 4, 4, 2},
        Shape{2, 1, 1, 4}, Shape{9, 28, 28, 32}, Shape{4, 28, 28, 24}, Shape{300, 6, 6, 6}}) {
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      SCOPED_TRACE(to_string(shape));
      const auto fused = test::same_for_all_threads([&] { return run_pooled<TypeParam>(shape, write, false); });
      const auto apart = run_pooled<TypeParam>(shape, write, true);
      for (const std::size_t exact : {0, 1, 2})
        EXPECT_TRUE(same_bits(fused.values[exact], apart.values[exact])) << exact;
      EXPECT_TRUE(same_bits(fused.code, apart.code));
      expect_close(fused, apart, tolerance<TypeParam>());
      const test::ReferenceOnly reference;
      expect_close(fused, run_pooled<TypeParam>(shape, write, false), tolerance<TypeParam>());
    }
  }
}

template <class T>
Results<T> run_layer(const Size& s, bool affine, Write write) {
  test::Numbers numbers(8);
  const Shape shape{s.rows, s.channels}, row{s.channels}, column{s.rows};
  const auto x = numbers.fenced<T>(shape.numel(), 2, 0.5), dy = numbers.fenced<T>(shape.numel());
  const auto gamma = numbers.fenced<T>(s.channels, 0.5, 1), beta = numbers.fenced<T>(s.channels, 0.3);
  Fenced<T> y(shape.numel()), mean(s.rows), inv_std(s.rows);
  auto dx = numbers.fenced<T>(shape.numel()), dgamma = numbers.fenced<T>(s.channels),
       dbeta = numbers.fenced<T>(s.channels);
  if (write == Write::overwrite)
    dx = Fenced<T>(shape.numel()), dgamma = Fenced<T>(s.channels), dbeta = Fenced<T>(s.channels);
  const ConstView g = affine ? gamma.view(row) : ConstView(), b = affine ? beta.view(row) : ConstView();
  cpu::norm_ops()->layer(x.view(shape), g, b, 1e-5, y.view(shape), mean.view(column), inv_std.view(column));
  cpu::norm_ops()->layer_backward(x.view(shape), dy.view(shape), gamma.view(row), mean.view(column),
                                  inv_std.view(column), {dx.view(shape), write}, {dgamma.view(row), write},
                                  {dbeta.view(row), write});
  Results<T> r;
  r.values = {y, mean, inv_std, dx, dgamma, dbeta};
  r.expect_fences();
  return r;
}

TYPED_TEST(NormTest, LayerAgreesWithThePlainLoops) {
  for (const Size& s : kSizes) {
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      SCOPED_TRACE(::testing::Message() << s.rows << "x" << s.channels);
      const auto run = [&] { return run_layer<TypeParam>(s, s.rows % 2 == 0, write); };
      const auto fast = test::same_for_all_threads(run);
      const test::ReferenceOnly reference;
      expect_close(fast, run(), tolerance<TypeParam>());
    }
  }
}

// A mean far from 0 must not swamp the variance: 4096 plus small noise in f32.
TEST(NormNumbers, VarianceBesideALargeMean) {
  constexpr std::int64_t kRows = 50000, kChannels = 5;
  test::Numbers numbers(2);
  auto x = numbers.fenced<float>(kRows * kChannels, 0.5, 4096);
  Fenced<float> y(x.size()), mean(kChannels), inv_std(kChannels);
  cpu::norm_ops()->batch_train({}, x.view({kRows, kChannels}), Activation::none, y.view({kRows, kChannels}),
                               mean.view({kChannels}), inv_std.view({kChannels}));
  for (std::int64_t c = 0; c < kChannels; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < kRows; ++i) sum += double(x[i * kChannels + c]);
    for (std::int64_t i = 0; i < kRows; ++i) squares += std::pow(double(x[i * kChannels + c]) - sum / kRows, 2);
    EXPECT_NEAR(double(mean[c]), sum / kRows, 5e-4);
    EXPECT_NEAR(double(inv_std[c]) * std::sqrt(squares / kRows + 1e-5), 1, 1e-5);
  }
}

TEST(NormNumbers, MeanOverALongColumn) {
  constexpr std::int64_t kRows = 20'000'000;
  std::vector<float> x(kRows, 0.1F), y(kRows);
  float mean = 0, inv_std = 0;
  cpu::norm_ops()->batch_train({}, {x.data(), {kRows, 1}, DType::f32}, Activation::none,
                               {y.data(), {kRows, 1}, DType::f32}, {&mean, {1}, DType::f32},
                               {&inv_std, {1}, DType::f32});
  EXPECT_NEAR(double(mean), 0.1, 1e-6);
  EXPECT_NEAR(double(inv_std), 1 / std::sqrt(1e-5), 1e-2);
}

TEST(NormNumbers, ReluPassesNaN) {
  Fenced<double> x(64, 1.0), y(64), mean(4), inv_std(4), gradient(64, 1.0), dx(64);
  x[5] = std::numeric_limits<double>::quiet_NaN();
  cpu::norm_ops()->batch_train({}, x.view({16, 4}), Activation::relu, y.view({16, 4}), mean.view({4}),
                               inv_std.view({4}));
  for (std::int64_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(y[i]), i % 4 == 1);
}

// f64 gradients of sum(weight * y) against central differences: the relative error in norm is below 1e-7.
using Forward = std::function<std::vector<double>(const std::vector<double>&)>;
void expect_gradient(const char* what, std::vector<double> x, const std::vector<double>& weight, const Forward& forward,
                     const Fenced<double>& gradient) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto value = [&](double at) {
      const double before = std::exchange(x[i], at);
      const auto y = forward(x);
      x[i] = before;
      double sum = 0;
      for (std::size_t j = 0; j < y.size(); ++j) sum += weight[j] * y[j];
      return sum;
    };
    const double numeric = (value(x[i] + 1e-5) - value(x[i] - 1e-5)) / 2e-5;
    difference += std::pow(numeric - gradient[static_cast<std::int64_t>(i)], 2);
    norm += numeric * numeric;
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-7) << what;
}

std::vector<double> plain(const Fenced<double>& f) { return {f.data(), f.data() + f.size()}; }

TEST(NormGradient, BatchAndPooledAndLayer) {
  const Shape shape{3, 4, 5, 7}, pooled{3, 2, 2, 7}, row{7};
  test::Numbers numbers(6);
  const auto x = numbers.fenced<double>(shape.numel()), gamma = numbers.fenced<double>(7, 0.5, 1),
             beta = numbers.fenced<double>(7, 0.5);
  const auto dy = numbers.fenced<double>(shape.numel()), dpooled = numbers.fenced<double>(pooled.numel());
  Fenced<double> y(shape.numel()), z(pooled.numel()), mean(7), inv_std(7), dx(shape.numel());
  Fenced<std::uint8_t> code(pooled.numel());
  Norm* const norm = cpu::norm_ops();
  const auto state = [&](ConstView g) {
    BatchNormState s;
    s.gamma = g;
    s.beta = beta.view(row);
    return s;
  };
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const auto forward = [&](const std::vector<double>& in) {
      norm->batch_train(state(gamma.view(row)), {in.data(), shape, DType::f64}, activation, y.view(shape),
                        mean.view(row), inv_std.view(row));
      return plain(y);
    };
    forward(plain(x));
    norm->batch_backward(true, activation, x.view(shape), y.view(shape), dy.view(shape), gamma.view(row),
                         mean.view(row), inv_std.view(row), {dx.view(shape), Write::overwrite}, {}, {});
    expect_gradient("batch", plain(x), plain(dy), forward, dx);
  }
  const auto forward_pooled = [&](const std::vector<double>& in) {
    norm->batch_train(state(gamma.view(row)), {in.data(), shape, DType::f64}, kReluMaxPool, z.view(pooled),
                      mean.view(row), inv_std.view(row), code.view(pooled));
    return plain(z);
  };
  forward_pooled(plain(x));
  Fenced<double> dgamma(7);
  norm->batch_backward(true, kReluMaxPool, x.view(shape), code.view(pooled), dpooled.view(pooled), gamma.view(row),
                       mean.view(row), inv_std.view(row), {dx.view(shape), Write::overwrite},
                       {dgamma.view(row), Write::overwrite}, {});
  expect_gradient("pooled", plain(x), plain(dpooled), forward_pooled, dx);
  const auto of_gamma = [&](const std::vector<double>& in) {
    norm->batch_train(state({in.data(), row, DType::f64}), x.view(shape), kReluMaxPool, z.view(pooled), mean.view(row),
                      inv_std.view(row), code.view(pooled));
    return plain(z);
  };
  expect_gradient("pooled gamma", plain(gamma), plain(dpooled), of_gamma, dgamma);
  const Shape rows{60};
  Fenced<double> means(60), inv_stds(60);
  const auto forward_layer = [&](const std::vector<double>& in) {
    norm->layer({in.data(), {60, 7}, DType::f64}, gamma.view(row), beta.view(row), 1e-5, y.view({60, 7}),
                means.view(rows), inv_stds.view(rows));
    return plain(y);
  };
  forward_layer(plain(x));
  norm->layer_backward(x.view({60, 7}), dy.view({60, 7}), gamma.view(row), means.view(rows), inv_stds.view(rows),
                       {dx.view({60, 7}), Write::overwrite}, {}, {});
  expect_gradient("layer", plain(x), plain(dy), forward_layer, dx);
}

}  // namespace
}  // namespace descent
