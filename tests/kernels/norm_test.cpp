// Batch normalization kernels against reference loops in long double and against the CPU backend: statistics, forward
// and backward, training and evaluation, with and without ReLU and parameters, both Write modes, difficult values.
#include "norm_checks.h"

namespace descent::gpu {
namespace {

struct Size {
  std::int64_t rows, channels;
};

// Around packs, tiles of 32 groups and blocks; rows in one chunk, in more chunks than a grid has blocks, and in more
// than a warp merges.
const std::vector<Size> kSizes{{0, 3},   {1, 1},    {1, 33},   {2, 0},    {2, 3},     {3, 4},    {4, 5},   {5, 8},
                               {31, 32}, {33, 31},  {32, 33},  {3, 255},  {2, 256},   {5, 257},  {255, 2}, {256, 1},
                               {257, 6}, {1025, 3}, {2, 1025}, {4200, 4}, {1300, 24}, {4200, 33}};

constexpr double kEps = 1e-5, kMomentum = 0.1;

template <class T>
struct Statistics {
  std::vector<Wide<T>> mean, inv_std, running_mean, running_var;
};

template <class T>
struct BatchCase {  // inputs of one size
  using V = Wide<T>;
  Size size;
  Affine<V> affine;
  std::vector<V> x, dy, running_mean, running_var;

  BatchCase(const Size& s, bool with_affine, double mean = 0.5, double spread = 2)
      : size(s),
        affine(with_affine, s.channels),
        x(storable_values<T>(s.rows * s.channels, 1, mean - spread, mean + spread)),
        dy(storable_values<T>(s.rows * s.channels, 2)),
        running_mean(random_values<V>(s.channels, 3)),
        running_var(random_values<V>(s.channels, 4, 0.5, 1.5)) {}
};

// Runs the forward pass; returns y.
template <class T>
std::vector<Wide<T>> forward(const BatchCase<T>& c, bool training, Activation activation, Statistics<T>& out,
                             int offset_x = 0, int offset_y = 0) {
  using V = Wide<T>;
  TestStream stream;
  const DeviceArray<V> mean(c.size.channels), inv_std(c.size.channels);
  const DeviceArray<V> running_mean(c.running_mean), running_var(c.running_var);
  const OptionalArray<V> gamma(c.affine.gamma), beta(c.affine.beta);
  const DeviceArray<T> x(stored<T>(c.x), offset_x), y(x.size(), offset_y);
  const BatchParameters<V> p{gamma.data(), beta.data(), running_mean.data(), running_var.data(), kMomentum, kEps};
  if (training) {
    batch_train<T>(stream, c.size.rows, c.size.channels, p, x.data(), activation, y.data(), mean.data(),
                   inv_std.data());
  } else {
    batch_eval<T>(stream, c.size.rows, c.size.channels, p, x.data(), activation, y.data());
  }
  out = {mean.host(), inv_std.host(), running_mean.host(), running_var.host()};
  return widened(y.host());
}

template <class T>
void expect_running(const char* what, T got, T before, Long batch, Long size) {
  const Long old = static_cast<Long>(before), momentum = kMomentum;
  expect_within(what, got, (1 - momentum) * old + momentum * batch, 8 * unit<T>() * (std::abs(old) + size));
}

// Checks y and the statistics that backward reads: those of the batch in training, the running ones in evaluation.
template <class T>
void expect_forward(const BatchCase<T>& c, bool training, Activation activation, const std::vector<Wide<T>>& y,
                    Statistics<T>& s) {
  using V = Wide<T>;
  const auto [rows, channels] = c.size;
  for (std::int64_t k = 0; k < channels; ++k) {
    SCOPED_TRACE("channel " + std::to_string(k));
    if (training) {
      const WideMoments m = wide_moments(c.x, k, channels, rows);
      expect_statistics(m, kEps, s.mean[at(k)], s.inv_std[at(k)]);
      if (rows == 0) {
        EXPECT_EQ(s.running_mean[at(k)], c.running_mean[at(k)]);
        EXPECT_EQ(s.running_var[at(k)], c.running_var[at(k)]);
      } else {
        const Long unbiased = rows > 1 ? m.variance * rows / (rows - 1) : m.variance;
        expect_running("running_mean", s.running_mean[at(k)], c.running_mean[at(k)], m.mean, m.size);
        expect_running("running_var", s.running_var[at(k)], c.running_var[at(k)], unbiased,
                       unbiased * (2 + merge_error(m) / unit<V>()));
      }
    } else {
      s.mean[at(k)] = c.running_mean[at(k)];
      s.inv_std[at(k)] = static_cast<V>(1 / std::sqrt(static_cast<Long>(c.running_var[at(k)]) + Long{kEps}));
    }
    for (std::int64_t i = k; i < rows * channels; i += channels) {
      expect_normalized<T>(c.x[at(i)], s.mean[at(k)], s.inv_std[at(k)], or_else(c.affine.gamma, k, 1),
                           or_else(c.affine.beta, k, 0), activation == Activation::relu, y[at(i)]);
    }
  }
}

struct Wanted {
  bool dx = true, dgamma = true, dbeta = true;
};

template <class T>
BatchGradients<T> backward(const BatchCase<T>& c, bool training, Activation activation, const std::vector<Wide<T>>& y,
                           const Statistics<T>& s, Write write, const Wanted& wanted, BatchGradients<T>& before,
                           int offset_x = 0, int offset_dx = 0) {
  TestStream stream;
  const std::int64_t channels = c.size.channels;
  using V = Wide<T>;
  const DeviceArray<T> x(stored<T>(c.x), offset_x), dy(stored<T>(c.dy)), out(stored<T>(y));
  const DeviceArray<V> mean(s.mean), inv_std(s.inv_std);
  const OptionalArray<V> gamma(c.affine.gamma);
  const GradientArray<T> dx(x.size(), wanted.dx, write, 5, offset_dx);
  const GradientArray<V> dgamma(channels, wanted.dgamma, write, 6), dbeta(channels, wanted.dbeta, write, 7);
  batch_backward<T>(stream, training, activation, c.size.rows, channels, x.data(),
                    activation == Activation::relu ? out.data() : nullptr, dy.data(),
                    {gamma.data(), mean.data(), inv_std.data()}, dx.into(), dgamma.into(), dbeta.into());
  before = {dx.before(), dgamma.before(), dbeta.before()};
  return {dx.host(), dgamma.host(), dbeta.host()};
}

template <class T>
void check_batch(const BatchCase<T>& c, bool training, Activation activation, Write write, const Wanted& wanted = {},
                 int offset_x = 0, int offset_y = 0) {
  SCOPED_TRACE(std::to_string(c.size.rows) + "x" + std::to_string(c.size.channels) + (training ? " train" : " eval") +
               (activation == Activation::relu ? " relu" : "") + (write == Write::accumulate ? " accumulate" : "") +
               " offsets " + std::to_string(offset_x) + ", " + std::to_string(offset_y));
  Statistics<T> s;
  const auto y = forward(c, training, activation, s, offset_x, offset_y);
  expect_forward(c, training, activation, y, s);
  BatchGradients<T> before;
  const auto got = backward(c, training, activation, y, s, write, wanted, before, offset_x, offset_y);
  auto dz = c.dy;
  for (std::size_t i = 0; i < dz.size(); ++i) dz[i] = activation == Activation::relu && y[i] <= 0 ? 0 : dz[i];
  expect_batch_gradients(c.size.rows, c.size.channels, training, c.x, dz, c.affine.gamma, s.mean, s.inv_std, got,
                         before);
}

template <class T>
class BatchNormKernels : public testing::Test {};
using Stored = testing::Types<float, double, __nv_bfloat16>;
TYPED_TEST_SUITE(BatchNormKernels, Stored);

// The jobs cover every row and channel exactly once, and there are many jobs if there is enough work.
TEST(NormColumnsTest, JobsCoverEverythingOnce) {
  for (const std::int64_t rows : {0, 1, 31, 1000, 6272, 100352, 3000000}) {
    for (const std::int64_t groups : {0, 1, 2, 3, 16, 31, 32, 33, 65, 1250, 50000}) {
      const NormColumns c = norm_columns(rows, groups);
      SCOPED_TRACE(std::to_string(rows) + " rows, " + std::to_string(groups) + " groups");
      EXPECT_EQ(c.jobs, c.tiles * c.chunks);
      if (groups == 0) continue;
      EXPECT_LE(c.tile * c.row_lanes, kThreads);
      EXPECT_GE(c.tile * c.row_lanes, kThreads * 3 / 4);
      EXPECT_GE(c.tiles * c.tile, groups);
      EXPECT_LT((c.tiles - 1) * c.tile, groups);
      EXPECT_GE(c.chunks * c.chunk_rows, rows);
      EXPECT_LT((c.chunks - 1) * c.chunk_rows, rows + (rows == 0 ? c.chunk_rows : 0));
      EXPECT_LE(c.jobs, std::max(kNormMostJobs, c.tiles));
      if (rows * groups >= 1000000) {
        EXPECT_GE(c.jobs, 400);
      }
    }
  }
}

TYPED_TEST(BatchNormKernels, AgreesWithTheMathematics) {
  using T = TypeParam;
  bool affine = false;
  for (const Size& size : kSizes) {
    affine = !affine;
    const BatchCase<T> c(size, affine);
    if (size.channels > 500 || size.rows * size.channels > 50000) {  // these are slow
      check_batch(c, true, Activation::relu, Write::accumulate);
      continue;
    }
    for (const bool training : {true, false}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        for (const Write write : {Write::overwrite, Write::accumulate}) {
          check_batch(c, training, activation, write);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// Correct, and with the same bits, wherever arrays begin.
TYPED_TEST(BatchNormKernels, UnalignedPointers) {
  using T = TypeParam;
  for (const Size& size : {Size{33, 8}, Size{3, 256}, Size{70, 5}}) {
    const BatchCase<T> c(size, true);
    Statistics<T> aligned, s;
    BatchGradients<T> before;
    const auto want = forward(c, true, Activation::relu, aligned);
    const auto gradients = backward(c, true, Activation::relu, want, aligned, Write::overwrite, {}, before);
    for (const auto& [x, y] : std::vector<std::pair<int, int>>{{1, 0}, {0, 1}, {3, 1}}) {
      check_batch(c, true, Activation::relu, Write::accumulate, {}, x, y);
      check_batch(c, false, Activation::none, Write::overwrite, {}, x, y);
      EXPECT_TRUE(same_bits(forward(c, true, Activation::relu, s, x, y), want));
      EXPECT_TRUE(same_bits(s.inv_std, aligned.inv_std));
      const auto got = backward(c, true, Activation::relu, want, aligned, Write::overwrite, {}, before, x, y);
      EXPECT_TRUE(same_bits(got.dx, gradients.dx));
      EXPECT_TRUE(same_bits(got.dgamma, gradients.dgamma));
    }
  }
}

TYPED_TEST(BatchNormKernels, WritesOnlyWhatIsWanted) {
  using T = TypeParam;
  const BatchCase<T> c({41, 12}, true);
  for (const bool training : {true, false}) {
    for (int mask = 0; mask < 8; ++mask) {
      check_batch(c, training, Activation::relu, Write::overwrite, {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0});
    }
  }
}

TYPED_TEST(BatchNormKernels, WithoutRunningStatistics) {
  using T = TypeParam;
  using V = Wide<T>;
  TestStream stream;
  const BatchCase<T> c({40, 6}, false);
  Statistics<T> s;
  const auto want = forward(c, true, Activation::none, s);
  const DeviceArray<T> x(stored<T>(c.x)), y(x.size());
  const DeviceArray<V> mean(6), inv_std(6);
  batch_train<T>(stream, 40, 6, {nullptr, nullptr, nullptr, nullptr, kMomentum, kEps}, x.data(), Activation::none,
                 y.data(), mean.data(), inv_std.data());
  EXPECT_TRUE(same_bits(widened(y.host()), want));
  EXPECT_TRUE(same_bits(mean.host(), s.mean));
}

// The mean and the variance must not swamp each other, whichever value a thread reads first.
TYPED_TEST(BatchNormKernels, FarFromZeroAndWithOutliers) {
  using T = TypeParam;
  for (const Size& size : {Size{2500, 3}, Size{2500, 4}}) {
    BatchCase<T> c(size, false, 1e4, std::sqrt(3.0));
    check_batch(c, true, Activation::none, Write::overwrite);
    const std::int64_t n = size.rows * size.channels;
    for (std::int64_t k = 0; k < 3; ++k) c.x[at(k)] = rounded<T>(-1e4), c.x[at(n - 1 - k)] = rounded<T>(3e4);
    check_batch(c, true, Activation::none, Write::overwrite);
  }
}

TYPED_TEST(BatchNormKernels, ConstantChannelsAreZero) {
  using T = TypeParam;
  BatchCase<T> c({300, 4}, false);
  const Wide<T> value = rounded<T>(static_cast<Wide<T>>(0.1));
  std::fill(c.x.begin(), c.x.end(), value);
  Statistics<T> s;
  for (const Wide<T> y : forward(c, true, Activation::none, s)) EXPECT_EQ(y, 0);
  for (const Wide<T> mean : s.mean) EXPECT_EQ(mean, value);
}

TYPED_TEST(BatchNormKernels, NaNAndInfinityStayInTheirChannel) {
  using T = TypeParam;
  using V = Wide<T>;
  for (const V bad : {std::numeric_limits<V>::quiet_NaN(), std::numeric_limits<V>::infinity()}) {
    for (const std::int64_t row : {0, 150}) {
      BatchCase<T> c({300, 8}, true);
      c.x[at(row * 8 + 5)] = bad;
      Statistics<T> s;
      const auto y = forward(c, true, Activation::relu, s);
      for (std::int64_t i = 0; i < 300 * 8; ++i) ASSERT_EQ(std::isnan(y[at(i)]), i % 8 == 5) << i;
      EXPECT_FALSE(std::isfinite(s.mean[5]));
      EXPECT_TRUE(std::isnan(s.inv_std[5]));
      const auto evaluated = forward(c, false, Activation::relu, s);
      for (std::int64_t i = 0; i < 300 * 8; ++i) ASSERT_EQ(std::isfinite(evaluated[at(i)]), i != row * 8 + 5) << i;
    }
  }
}

// relu(NaN) is NaN, and its gradient passes through; with constant statistics dx does not depend on x, even a NaN.
TYPED_TEST(BatchNormKernels, MaskLetsNaNThrough) {
  using T = TypeParam;
  using V = Wide<T>;
  const V nan = std::numeric_limits<V>::quiet_NaN(), inf = std::numeric_limits<V>::infinity();
  TestStream stream;
  const DeviceArray<T> x(stored<T>({nan, inf, 1, 2})), y(stored<T>({nan, 0, V(-0.0), 3})), dy(stored<T>({1, 2, 3, 4}));
  const DeviceArray<T> dx(4);
  const DeviceArray<V> mean({V(0)}), inv_std({V(2)}), dbeta(1);
  batch_backward<T>(stream, false, Activation::relu, 4, 1, x.data(), y.data(), dy.data(),
                    {nullptr, mean.data(), inv_std.data()}, {dx.data(), false}, {}, {dbeta.data(), false});
  EXPECT_EQ(widened(dx.host()), (std::vector<V>{2, 0, 0, 8}));
  EXPECT_EQ(dbeta.host(), (std::vector<V>{5}));
}

TYPED_TEST(BatchNormKernels, AgreesWithTheCpuBackend) {
  using T = TypeParam;
  using V = Wide<T>;
  Norm& cpu = *cpu::backend().norm;
  for (const Size& size : {Size{33, 31}, Size{257, 16}, Size{4200, 4}}) {
    SCOPED_TRACE(std::to_string(size.rows) + "x" + std::to_string(size.channels));
    const BatchCase<T> c(size, true);
    Statistics<T> s,
        want{std::vector<V>(at(size.channels)), std::vector<V>(at(size.channels)), c.running_mean, c.running_var};
    const auto y = forward(c, true, Activation::relu, s);
    const Shape shape{size.rows, size.channels}, row{size.channels};
    BatchNormState state{view_of(c.affine.gamma, row),
                         view_of(c.affine.beta, row),
                         out_view(want.running_mean, row),
                         out_view(want.running_var, row),
                         kMomentum,
                         kEps};
    std::vector<V> cpu_y(c.x.size());
    cpu.batch_train(state, view_of(c.x, shape), Activation::relu, out_view(cpu_y, shape), out_view(want.mean, row),
                    out_view(want.inv_std, row));
    EXPECT_LE(norm_error(y, cpu_y), cpu_bound<T>());
    EXPECT_LE(norm_error(s.mean, want.mean), cpu_bound<V>());
    EXPECT_LE(norm_error(s.inv_std, want.inv_std), cpu_bound<V>());
    EXPECT_LE(norm_error(s.running_mean, want.running_mean), cpu_bound<V>());
    EXPECT_LE(norm_error(s.running_var, want.running_var), cpu_bound<V>());
    BatchGradients<T> before,
        cpu_got{std::vector<V>(c.x.size()), std::vector<V>(at(size.channels)), std::vector<V>(at(size.channels))};
    const auto got = backward(c, true, Activation::relu, cpu_y, want, Write::overwrite, {}, before);
    cpu.batch_backward(true, Activation::relu, view_of(c.x, shape), view_of(cpu_y, shape), view_of(c.dy, shape),
                       state.gamma, view_of(want.mean, row), view_of(want.inv_std, row), {out_view(cpu_got.dx, shape)},
                       {out_view(cpu_got.dgamma, row)}, {out_view(cpu_got.dbeta, row)});
    EXPECT_LE(norm_error(got.dx, cpu_got.dx), cpu_bound<T>());
    EXPECT_LE(norm_error(got.dgamma, cpu_got.dgamma), cpu_bound<V>());
    EXPECT_LE(norm_error(got.dbeta, cpu_got.dbeta), cpu_bound<V>());
  }
}

TYPED_TEST(BatchNormKernels, SameBitsForEverySchedule) {
  using T = TypeParam;
  for (const Size& size : {Size{5, 1}, Size{257, 6}, Size{3, 70}, Size{4200, 4}, Size{4200, 33}}) {
    SCOPED_TRACE(std::to_string(size.rows) + "x" + std::to_string(size.channels));
    const BatchCase<T> c(size, true);
    Statistics<T> first;
    const auto y = forward(c, true, Activation::relu, first);
    BatchGradients<T> before;
    const auto gradients = backward(c, true, Activation::relu, y, first, Write::overwrite, {}, before);
    for_schedules([&] {
      Statistics<T> s;
      EXPECT_TRUE(same_bits(forward(c, true, Activation::relu, s), y));
      EXPECT_TRUE(same_bits(s.inv_std, first.inv_std));
      EXPECT_TRUE(same_bits(s.running_var, first.running_var));
      const auto again = backward(c, true, Activation::relu, y, first, Write::overwrite, {}, before);
      EXPECT_TRUE(same_bits(again.dx, gradients.dx));
      EXPECT_TRUE(same_bits(again.dgamma, gradients.dgamma));
      EXPECT_TRUE(same_bits(again.dbeta, gradients.dbeta));
    });
  }
}

}  // namespace
}  // namespace descent::gpu
