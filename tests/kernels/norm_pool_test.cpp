// Batch normalization, ReLU and 2x2 max-pooling fused: the same bits as in sequence, the same codes as the CPU
// backend's, and gradients against reference loops in long double.
#include <random>

#include "core/fusion.h"
#include "norm_checks.h"

namespace descent::gpu {
namespace {

constexpr double kEps = 1e-5, kMomentum = 0.1;

// Odd and even edges, edges shorter than a window, packs and single channels, more windows than a grid covers.
const std::vector<Shape> kShapes{{2, 4, 6, 3},    {1, 2, 2, 1},  {3, 7, 5, 8},   {2, 5, 9, 33},
                                 {0, 4, 4, 2},    {2, 1, 1, 4},  {2, 3, 1, 4},   {1, 2, 3, 257},
                                 {4, 14, 14, 24}, {11, 6, 6, 6}, {33, 9, 11, 4}, {2, 2, 2, 0}};

Shape pooled_of(const Shape& x) { return {x[0], x[1] / 2, x[2] / 2, x[3]}; }

PooledShape shape_of(const Shape& x) { return {x[0], x[1], x[2], x[3], x[1] / 2, x[2] / 2}; }

// Calls f(index in x of the window's first pixel, index in y).
template <class F>
void for_windows(const Shape& x, const F& f) {
  const Shape y = pooled_of(x);
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < y[0]; ++n) {
    for (std::int64_t h = 0; h < y[1]; ++h) {
      for (std::int64_t w = 0; w < y[2]; ++w) {
        for (std::int64_t c = 0; c < y[3]; ++c) f(((n * x[1] + 2 * h) * x[2] + 2 * w) * x[3] + c, out++);
      }
    }
  }
}

std::int64_t place(const Shape& x, std::int64_t code) { return (code / 2 * x[2] + code % 2) * x[3]; }

template <class T>
struct PoolCase {
  Shape shape;
  Affine<Wide<T>> affine;
  std::vector<Wide<T>> x, dy;

  explicit PoolCase(const Shape& s)
      : shape(s),
        affine(true, s[3]),
        x(storable_values<T>(s.numel(), 1, -1.5, 2.5)),
        dy(storable_values<T>(pooled_of(s).numel(), 2)) {}
};

template <class T>
struct Pooled {
  std::vector<Wide<T>> y, mean, inv_std;
  std::vector<std::uint8_t> code;
};

template <class T>
Pooled<T> forward(const PoolCase<T>& c, int offset = 0) {
  using V = Wide<T>;
  TestStream stream;
  const std::int64_t channels = c.shape[3], n = pooled_of(c.shape).numel();
  const DeviceArray<T> x(stored<T>(c.x), offset), y(n, offset);
  const DeviceArray<V> mean(channels), inv_std(channels), gamma(c.affine.gamma), beta(c.affine.beta);
  const DeviceArray<std::uint8_t> code(n, offset);
  batch_train_relu_pool<T>(stream, shape_of(c.shape), {gamma.data(), beta.data(), nullptr, nullptr, kMomentum, kEps},
                           x.data(), y.data(), code.data(), mean.data(), inv_std.data());
  return {widened(y.host()), mean.host(), inv_std.host(), code.host()};
}

template <class T>
struct Apart {
  std::vector<Wide<T>> z;  // after normalization and ReLU, before pooling
  Pooled<T> pooled;
};

template <class T>
Apart<T> forward_apart(const PoolCase<T>& c) {
  using V = Wide<T>;
  TestStream stream;
  const std::int64_t channels = c.shape[3], rows = c.shape[0] * c.shape[1] * c.shape[2];
  const DeviceArray<T> x(stored<T>(c.x)), z(x.size());
  const DeviceArray<V> mean(channels), inv_std(channels), gamma(c.affine.gamma), beta(c.affine.beta);
  batch_train<T>(stream, rows, channels, {gamma.data(), beta.data(), nullptr, nullptr, kMomentum, kEps}, x.data(),
                 Activation::relu, z.data(), mean.data(), inv_std.data());
  Apart<T> r{widened(z.host()), {{}, mean.host(), inv_std.host(), {}}};
  for_windows(c.shape, [&](std::int64_t in, std::int64_t) {
    std::uint8_t winner = 0;
    const auto value = [&](std::uint8_t k) { return r.z[at(in + place(c.shape, k))]; };
    for (std::uint8_t k = 1; k < 4; ++k) {
      if (!std::isnan(value(winner)) && !(value(k) <= value(winner))) winner = k;
    }
    r.pooled.y.push_back(value(winner));
    r.pooled.code.push_back(value(winner) <= 0 ? 4 : winner);
  });
  return r;
}

template <class T>
void expect_same(const Pooled<T>& a, const Pooled<T>& b) {
  EXPECT_TRUE(same_bits(a.y, b.y));
  EXPECT_TRUE(same_bits(a.code, b.code));
  EXPECT_TRUE(same_bits(a.mean, b.mean));
  EXPECT_TRUE(same_bits(a.inv_std, b.inv_std));
}

template <class T>
struct Backward {
  BatchGradients<T> got, before;
};

template <class T>
Backward<T> backward(const PoolCase<T>& c, const Pooled<T>& p, Write write, int wanted = 7, int offset = 0) {
  using V = Wide<T>;
  TestStream stream;
  const std::int64_t channels = c.shape[3];
  const DeviceArray<T> x(stored<T>(c.x), offset), dy(stored<T>(c.dy));
  const DeviceArray<V> mean(p.mean), inv_std(p.inv_std), gamma(c.affine.gamma);
  const DeviceArray<std::uint8_t> code(p.code);
  const GradientArray<T> dx(x.size(), (wanted & 1) != 0, write, 5);
  const GradientArray<V> dgamma(channels, (wanted & 2) != 0, write, 6), dbeta(channels, (wanted & 4) != 0, write, 7);
  batch_backward_relu_pool<T>(stream, shape_of(c.shape), x.data(), dy.data(), code.data(),
                              {gamma.data(), mean.data(), inv_std.data()}, dx.into(), dgamma.into(), dbeta.into());
  return {{dx.host(), dgamma.host(), dbeta.host()}, {dx.before(), dgamma.before(), dbeta.before()}};
}

template <class T>
void check_backward(const PoolCase<T>& c, const Pooled<T>& p, Write write, int wanted = 7, int offset = 0) {
  std::vector<Wide<T>> dz(c.x.size());
  for_windows(c.shape, [&](std::int64_t in, std::int64_t out) {
    const std::int64_t code = p.code[at(out)];
    if (code < 4) dz[at(in + place(c.shape, code))] = c.dy[at(out)];
  });
  const Backward<T> b = backward(c, p, write, wanted, offset);
  expect_batch_gradients(c.shape[0] * c.shape[1] * c.shape[2], c.shape[3], true, c.x, dz, c.affine.gamma, p.mean,
                         p.inv_std, b.got, b.before);
}

template <class T>
class BatchNormPoolKernels : public testing::Test {};
using Stored = testing::Types<float, double, __nv_bfloat16>;
TYPED_TEST_SUITE(BatchNormPoolKernels, Stored);

// Rounding to bf16 may make other pixels of a window equal to its maximum: the code may name any of these.
TYPED_TEST(BatchNormPoolKernels, ForwardIsThePrimitivesOneAfterAnother) {
  for_schedules([] {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(to_string(shape));
      const PoolCase<TypeParam> c(shape);
      const auto p = forward(c);
      Apart<TypeParam> apart = forward_apart(c);
      if constexpr (!kIsWide<TypeParam>) {
        for_windows(shape, [&](std::int64_t in, std::int64_t out) {
          std::uint8_t &code = apart.pooled.code[at(out)], other = p.code[at(out)];
          if (code < 4 && other < 4 && apart.z[at(in + place(shape, other))] == apart.pooled.y[at(out)]) code = other;
        });
      }
      expect_same(p, apart.pooled);
    }
  });
}

TYPED_TEST(BatchNormPoolKernels, BackwardAgreesWithTheMathematics) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(to_string(shape));
    const PoolCase<TypeParam> c(shape);
    const auto p = forward(c);
    for (const Write write : {Write::overwrite, Write::accumulate}) check_backward(c, p, write);
  }
}

TYPED_TEST(BatchNormPoolKernels, UnalignedPointersAndSomeGradients) {
  const PoolCase<TypeParam> c({3, 5, 6, 8});
  const auto p = forward(c);
  expect_same(forward(c, 1), p);
  expect_same(forward(c, 3), p);
  check_backward(c, p, Write::accumulate, 7, 1);
  for (int wanted = 0; wanted < 8; ++wanted) check_backward(c, p, Write::overwrite, wanted);
}

TYPED_TEST(BatchNormPoolKernels, SameBitsForEverySchedule) {
  const PoolCase<TypeParam> c({33, 9, 11, 4});
  const auto p = forward(c);
  const auto first = backward(c, p, Write::overwrite).got;
  for_schedules([&] {
    const auto again = backward(c, p, Write::overwrite).got;
    EXPECT_TRUE(same_bits(again.dx, first.dx));
    EXPECT_TRUE(same_bits(again.dgamma, first.dgamma));
    EXPECT_TRUE(same_bits(again.dbeta, first.dbeta));
  });
}

// Values in a window differ by at least 1/8, so that rounding decides no winner, or (in every other channel) are
// often equal, and stay equal. Only values near 0 could differ in whether ReLU zeroes them, and there are none.
TYPED_TEST(BatchNormPoolKernels, CodesAreTheCpuBackends) {
  using T = TypeParam;
  using V = Wide<T>;
  for (const Shape& shape : {Shape{5, 9, 12, 16}, Shape{4, 8, 8, 5}}) {
    PoolCase<T> c(shape);
    std::mt19937 engine(3);
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::int64_t w = i / shape[3] % shape[2], h = i / shape[3] / shape[2] % shape[1];
      const bool equal = i % shape[3] % 2 == 0;
      const int place = static_cast<int>(h % 2 * 2 + w % 2);
      const int level = static_cast<int>(engine() % (equal ? 3 : 16)) * 4 + (equal ? 0 : place);
      c.x[at(i)] = static_cast<V>(level) / 8;
    }
    const Pooled<T> got = forward(c);
    Pooled<T> want{std::vector<V>(c.dy.size()), std::vector<V>(at(shape[3])), std::vector<V>(at(shape[3])),
                   std::vector<std::uint8_t>(c.dy.size())};
    const Shape pooled = pooled_of(shape), row{shape[3]};
    BatchNormState s;
    s.gamma = view_of(c.affine.gamma, row);
    s.beta = view_of(c.affine.beta, row);
    cpu::backend().norm->batch_train(s, view_of(c.x, shape), kReluMaxPool, out_view(want.y, pooled),
                                     out_view(want.mean, row), out_view(want.inv_std, row),
                                     out_view(want.code, pooled));
    EXPECT_TRUE(same_bits(got.code, want.code));
    EXPECT_LE(norm_error(got.y, want.y), cpu_bound<T>());
    EXPECT_LE(norm_error(got.mean, want.mean), cpu_bound<V>());
    EXPECT_LE(norm_error(got.inv_std, want.inv_std), cpu_bound<V>());
    const BatchGradients<T> gradients = backward(c, want, Write::overwrite).got;
    BatchGradients<T> cpu{std::vector<V>(c.x.size()), std::vector<V>(at(shape[3])), std::vector<V>(at(shape[3]))};
    cpu::backend().norm->batch_backward(true, kReluMaxPool, view_of(c.x, shape), view_of(want.code, pooled),
                                        view_of(c.dy, pooled), s.gamma, view_of(want.mean, row),
                                        view_of(want.inv_std, row), {out_view(cpu.dx, shape)},
                                        {out_view(cpu.dgamma, row)}, {out_view(cpu.dbeta, row)});
    EXPECT_LE(norm_error(gradients.dx, cpu.dx), cpu_bound<T>());
    EXPECT_LE(norm_error(gradients.dgamma, cpu.dgamma), cpu_bound<V>());
    EXPECT_LE(norm_error(gradients.dbeta, cpu.dbeta), cpu_bound<V>());
  }
}

TYPED_TEST(BatchNormPoolKernels, NaNWinsInItsChannel) {
  using T = TypeParam;
  PoolCase<T> c({2, 4, 4, 8});
  c.x[at(3 * 8 + 5)] = std::numeric_limits<Wide<T>>::quiet_NaN();
  const Pooled<T> p = forward(c);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(p.y.size()); ++i) {
    EXPECT_EQ(std::isnan(p.y[at(i)]), i % 8 == 5);
    if (i % 8 == 5) {
      EXPECT_EQ(p.code[at(i)], 0);
    }
  }
}

}  // namespace
}  // namespace descent::gpu
