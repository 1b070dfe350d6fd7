// Layer normalization kernels against reference loops in long double and against the CPU backend: rows handled by a
// warp and by a block, packs and single elements, with and without parameters, both Write modes.
#include "norm_checks.h"

namespace descent::gpu {
namespace {

constexpr double kEps = 1e-5;

struct Size {
  std::int64_t rows, n;
};

// Around packs, a warp's packs and a warp's longest row; more rows and chunks of rows than a grid processes at once.
const std::vector<Size> kSizes{{0, 3},    {1, 1},    {2, 3},    {3, 4},     {4, 5},    {5, 31},
                               {33, 32},  {3, 33},   {4, 64},   {2, 128},   {31, 256}, {3, 257},
                               {2, 1023}, {5, 1024}, {2, 1025}, {20, 1032}, {300, 33}, {100, 264}};

template <class T>
struct LayerCase {
  Size size;
  Affine<Wide<T>> affine;
  std::vector<Wide<T>> x, dy;

  LayerCase(const Size& s, bool with_affine, double mean = 0.5, double spread = 2)
      : size(s),
        affine(with_affine, s.n),
        x(storable_values<T>(s.rows * s.n, 1, mean - spread, mean + spread)),
        dy(storable_values<T>(s.rows * s.n, 2)) {}
};

template <class T>
struct Forward {
  std::vector<Wide<T>> y, mean, inv_std;
};

template <class T>
Forward<T> forward(const LayerCase<T>& c, int offset = 0) {
  using V = Wide<T>;
  TestStream stream;
  const DeviceArray<T> x(stored<T>(c.x), offset), y(x.size(), offset);
  const DeviceArray<V> mean(c.size.rows), inv_std(c.size.rows);
  const OptionalArray<V> gamma(c.affine.gamma), beta(c.affine.beta);
  layer<T>(stream, c.size.rows, c.size.n, x.data(), gamma.data(), beta.data(), kEps, y.data(), mean.data(),
           inv_std.data());
  return {widened(y.host()), mean.host(), inv_std.host()};
}

template <class T>
void expect_forward(const LayerCase<T>& c, const Forward<T>& f) {
  for (std::int64_t r = 0; r < c.size.rows; ++r) {
    SCOPED_TRACE("row " + std::to_string(r));
    expect_statistics(wide_moments(c.x, r * c.size.n, 1, c.size.n), kEps, f.mean[at(r)], f.inv_std[at(r)]);
    for (std::int64_t i = 0; i < c.size.n && !testing::Test::HasFailure(); ++i) {
      expect_normalized<T>(c.x[at(r * c.size.n + i)], f.mean[at(r)], f.inv_std[at(r)], or_else(c.affine.gamma, i, 1),
                           or_else(c.affine.beta, i, 0), false, f.y[at(r * c.size.n + i)]);
    }
  }
}

template <class T>
struct Backward {
  BatchGradients<T> got, before;
};

template <class T>
Backward<T> backward(const LayerCase<T>& c, const Forward<T>& f, Write write, int wanted = 7, int offset = 0) {
  using V = Wide<T>;
  TestStream stream;
  const DeviceArray<T> x(stored<T>(c.x), offset), dy(stored<T>(c.dy));
  const DeviceArray<V> mean(f.mean), inv_std(f.inv_std);
  const OptionalArray<V> gamma(c.affine.gamma);
  const GradientArray<T> dx(x.size(), (wanted & 1) != 0, write, 5, offset);
  const GradientArray<V> dgamma(c.size.n, (wanted & 2) != 0, write, 6), dbeta(c.size.n, (wanted & 4) != 0, write, 7);
  layer_backward<T>(stream, c.size.rows, c.size.n, x.data(), dy.data(), {gamma.data(), mean.data(), inv_std.data()},
                    dx.into(), dgamma.into(), dbeta.into());
  return {{dx.host(), dgamma.host(), dbeta.host()}, {dx.before(), dgamma.before(), dbeta.before()}};
}

template <class T>
void expect_backward(const LayerCase<T>& c, const Forward<T>& f, const Backward<T>& b) {
  using V = Wide<T>;
  const std::int64_t rows = c.size.rows, n = c.size.n;
  std::vector<WideSums> columns(at(n));
  for (std::int64_t r = 0; r < rows; ++r) {
    SCOPED_TRACE("row " + std::to_string(r));
    const Long mean = static_cast<Long>(f.mean[at(r)]), inv_std = static_cast<Long>(f.inv_std[at(r)]);
    const auto deviation = [&](std::int64_t i) { return static_cast<Long>(c.x[at(r * n + i)]) - mean; };
    const auto dz = [&](std::int64_t i) {
      return static_cast<Long>(c.dy[at(r * n + i)]) * or_else(c.affine.gamma, i, 1);
    };
    WideSums row;
    for (std::int64_t i = 0; i < n; ++i) {
      row.add(dz(i), deviation(i));
      columns[at(i)].add(static_cast<Long>(c.dy[at(r * n + i)]), deviation(i) * inv_std);
    }
    if (b.got.dx.empty()) continue;
    for (std::int64_t i = 0; i < n && !testing::Test::HasFailure(); ++i) {
      expect_dx<T>(b.got.dx[at(r * n + i)], inv_std, dz(i), &row, static_cast<Long>(n), inv_std, deviation(i),
                   b.before.dx, r * n + i);
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const WideSums& s = columns[at(i)];
    if (!b.got.dgamma.empty()) {
      expect_gradient<V>("dgamma", b.got.dgamma[at(i)], s.product, 8 * unit<V>() * s.product_size, b.before.dgamma, i);
    }
    if (!b.got.dbeta.empty()) {
      expect_gradient<V>("dbeta", b.got.dbeta[at(i)], s.sum, 8 * unit<V>() * s.sum_size, b.before.dbeta, i);
    }
  }
}

template <class T>
class LayerNormKernels : public testing::Test {};
using Stored = testing::Types<float, double, __nv_bfloat16>;
TYPED_TEST_SUITE(LayerNormKernels, Stored);

TYPED_TEST(LayerNormKernels, AgreesWithTheMathematics) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    for (const bool affine : {true, false}) {
      SCOPED_TRACE(std::to_string(size.rows) + " rows of " + std::to_string(size.n) + (affine ? " affine" : ""));
      const LayerCase<T> c(size, affine);
      const Forward<T> f = forward(c);
      expect_forward(c, f);
      for (const Write write : {Write::overwrite, Write::accumulate}) {
        if (size.n > 500 && affine == (write == Write::accumulate)) continue;  // these are slow
        expect_backward(c, f, backward(c, f, write));
      }
      if (testing::Test::HasFailure()) return;
    }
  }
}

TYPED_TEST(LayerNormKernels, SameBitsForEverySchedule) {
  using T = TypeParam;
  for (const Size& size : {Size{1, 1}, Size{5, 31}, Size{31, 256}, Size{5, 1032}, Size{100, 264}}) {
    SCOPED_TRACE(std::to_string(size.rows) + " rows of " + std::to_string(size.n));
    const LayerCase<T> c(size, true);
    const Forward<T> first = forward(c);
    const BatchGradients<T> gradients = backward(c, first, Write::overwrite).got;
    for_schedules([&] {
      const Forward<T> again = forward(c);
      EXPECT_TRUE(same_bits(again.y, first.y));
      EXPECT_TRUE(same_bits(again.inv_std, first.inv_std));
      const BatchGradients<T> g = backward(c, first, Write::overwrite).got;
      EXPECT_TRUE(same_bits(g.dx, gradients.dx));
      EXPECT_TRUE(same_bits(g.dgamma, gradients.dgamma));
      EXPECT_TRUE(same_bits(g.dbeta, gradients.dbeta));
    });
  }
}

TYPED_TEST(LayerNormKernels, UnalignedPointersAndSomeGradients) {
  using T = TypeParam;
  for (const Size& size : {Size{9, 256}, Size{2, 1032}}) {
    const LayerCase<T> c(size, true);
    const Forward<T> f = forward(c);
    const BatchGradients<T> gradients = backward(c, f, Write::overwrite).got;
    for (const int offset : {1, 3}) {
      EXPECT_TRUE(same_bits(forward(c, offset).y, f.y));
      const Backward<T> b = backward(c, f, Write::overwrite, 7, offset);
      EXPECT_TRUE(same_bits(b.got.dx, gradients.dx));
      EXPECT_TRUE(same_bits(b.got.dgamma, gradients.dgamma));
      expect_backward(c, f, backward(c, f, Write::accumulate, 7, offset));
    }
    for (int wanted = 0; wanted < 8; ++wanted) expect_backward(c, f, backward(c, f, Write::overwrite, wanted));
  }
}

TYPED_TEST(LayerNormKernels, FarFromZeroAndWithOutliers) {
  using T = TypeParam;
  for (const std::int64_t n : {64, 1000, 3000}) {
    SCOPED_TRACE(n);
    LayerCase<T> c({3, n}, false, 1e4, std::sqrt(3.0));
    expect_forward(c, forward(c));
    c.x[0] = rounded<T>(-1e4);
    c.x[at(2 * n - 1)] = rounded<T>(3e4);
    expect_forward(c, forward(c));
  }
}

TYPED_TEST(LayerNormKernels, NaNStaysInItsRow) {
  using T = TypeParam;
  for (const std::int64_t n : {5, 200, 1200}) {
    LayerCase<T> c({4, n}, true);
    c.x[at(2 * n + 3)] = std::numeric_limits<Wide<T>>::quiet_NaN();
    const Forward<T> f = forward(c);
    for (std::int64_t i = 0; i < 4 * n; ++i) ASSERT_EQ(std::isnan(f.y[at(i)]), i / n == 2) << i;
  }
}

// Rows without elements have variance 0, as in the CPU's reference loops.
TYPED_TEST(LayerNormKernels, EmptyRows) {
  using T = TypeParam;
  using V = Wide<T>;
  const Forward<T> f = forward(LayerCase<T>({3, 0}, false));
  for (const V mean : f.mean) EXPECT_EQ(mean, V(0));
  for (const V inv_std : f.inv_std) EXPECT_EQ(inv_std, static_cast<V>(1 / std::sqrt(kEps)));
}

TYPED_TEST(LayerNormKernels, AgreesWithTheCpuBackend) {
  using T = TypeParam;
  using V = Wide<T>;
  Norm& cpu = *cpu::backend().norm;
  for (const Size& size : {Size{33, 32}, Size{31, 256}, Size{5, 1032}, Size{100, 264}}) {
    SCOPED_TRACE(std::to_string(size.rows) + " rows of " + std::to_string(size.n));
    const LayerCase<T> c(size, true);
    const Forward<T> f = forward(c);
    Forward<T> want{std::vector<V>(c.x.size()), std::vector<V>(at(size.rows)), std::vector<V>(at(size.rows))};
    const Shape shape{size.rows, size.n}, row{size.n}, column{size.rows};
    const ConstView gamma = view_of(c.affine.gamma, row);
    cpu.layer(view_of(c.x, shape), gamma, view_of(c.affine.beta, row), kEps, out_view(want.y, shape),
              out_view(want.mean, column), out_view(want.inv_std, column));
    EXPECT_LE(norm_error(f.y, want.y), cpu_bound<T>());
    EXPECT_LE(norm_error(f.mean, want.mean), cpu_bound<V>());
    EXPECT_LE(norm_error(f.inv_std, want.inv_std), cpu_bound<V>());
    const BatchGradients<T> got = backward(c, want, Write::overwrite).got;
    BatchGradients<T> g{std::vector<V>(c.x.size()), std::vector<V>(at(size.n)), std::vector<V>(at(size.n))};
    cpu.layer_backward(view_of(c.x, shape), view_of(c.dy, shape), gamma, view_of(want.mean, column),
                       view_of(want.inv_std, column), {out_view(g.dx, shape)}, {out_view(g.dgamma, row)},
                       {out_view(g.dbeta, row)});
    EXPECT_LE(norm_error(got.dx, g.dx), cpu_bound<T>());
    EXPECT_LE(norm_error(got.dgamma, g.dgamma), cpu_bound<V>());
    EXPECT_LE(norm_error(got.dbeta, g.dbeta), cpu_bound<V>());
  }
}

}  // namespace
}  // namespace descent::gpu
