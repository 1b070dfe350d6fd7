// Convolution kernels with ReLU and pooling fused: the forward bit for bit against convolution, ReLU and pooling in
// sequence; the gradients against those of the gradient scattered over its windows.
#include <algorithm>

#include "conv_checks.h"

namespace descent::gpu {
namespace {

using test::same_bits;

template <class T>
struct Pooled {
  std::vector<T> y;
  std::vector<std::uint8_t> code;
};

template <class T>
Pooled<T> fused_by(const ConvProblem<T>& p, ConvWay way, bool with_bias) {
  TestStream q;
  const ConvGather job = conv_gather(p.c.shape(), false);
  const DeviceArray<T> x(p.x, p.offset), w(p.w, p.offset), bias(p.bias, p.offset);
  const DeviceArray<T> y(p.c.pooled().numel(), p.offset);
  const DeviceArray<std::uint8_t> code(p.c.pooled().numel(), p.offset);
  const PooledTarget<T> target{y.data(), code.data(), with_bias ? bias.data() : nullptr,
                               quads_fit(y.data(), job.target_channels(), job.target_group, code.data())};
  conv_run<T>(q, way, job, image_source<T>(x.data(), p.c.height, p.c.width, p.c.channels, job.source_group), w.data(),
              target);
  return {y.host(), code.host()};
}

template <class T>
std::vector<T> forward_with_relu(const ConvProblem<T>& p, bool with_bias) {
  return p.run(p.unset(p.c.y()),
               [&](Stream& q, const ConvShape& s, const T* x, const T* w, const T* bias, const T*, T* y) {
                 conv_forward(q, s, x, w, with_bias ? bias : nullptr, Activation::relu, y);
               });
}

// Pools according to the definition.
template <class T>
Pooled<T> pool(const ConvCase& c, const std::vector<T>& y) {
  Pooled<T> r;
  const std::int64_t rows = c.out_height() / 2, columns = c.out_width() / 2;
  for (std::int64_t i = 0; i < c.pooled().numel(); ++i) {
    const std::int64_t o = i % c.out, q = i / c.out % columns, row = i / c.out / columns % rows;
    const std::int64_t n = i / c.out / columns / rows;
    const auto at = [&](std::int64_t k) {
      return y[static_cast<std::size_t>(
          ((n * c.out_height() + 2 * row + k / 2) * c.out_width() + 2 * q + k % 2) * c.out + o)];
    };
    std::int64_t best = 0;
    for (std::int64_t k = 1; k < 4; ++k) {
      if (at(k) > at(best) || (std::isnan(at(k)) && !std::isnan(at(best)))) best = k;
    }
    r.y.push_back(at(best));
    r.code.push_back(static_cast<std::uint8_t>(at(best) <= 0 ? 4 : best));
  }
  return r;
}

template <class T>
void check_forward(const ConvProblem<T>& p, bool with_bias) {
  const Pooled<T> apart = pool(p.c, forward_with_relu(p, with_bias));
  for (const ConvWay way : conv_ways<WindowOrder, T>(conv_gather(p.c.shape(), false))) {
    const Pooled<T> fused = fused_by(p, way, with_bias);
    EXPECT_TRUE(same_bits(fused.code, apart.code)) << "way " << static_cast<int>(way);
    ASSERT_EQ(fused.y.size(), apart.y.size());
    for (std::size_t i = 0; i < fused.y.size(); ++i) {  // a NaN's sign may differ
      ASSERT_TRUE(fused.y[i] == apart.y[i] || (std::isnan(fused.y[i]) && std::isnan(apart.y[i])))
          << "way " << static_cast<int>(way) << ", element " << i << ": " << fused.y[i] << ", apart " << apart.y[i];
    }
  }
}

template <class T>
struct Gradients {
  std::vector<T> dx, dw, dbias;
};

// Gradients from dy, the gradient after pooling; computes only those that `start` has elements for.
template <class T>
Gradients<T> backward(const ConvProblem<T>& p, const std::vector<T>& dy, const std::vector<std::uint8_t>& code,
                      const Gradients<T>& start, Write write) {
  TestStream q;
  const DeviceArray<T> x(p.x, p.offset), w(p.w, p.offset), gradient(dy, p.offset);
  const DeviceArray<std::uint8_t> codes(code, p.offset);
  const DeviceArray<T> dx(start.dx, p.offset), dw(start.dw, p.offset), dbias(start.dbias, p.offset);
  const auto wanted = [](const DeviceArray<T>& a) { return a.size() == 0 ? nullptr : a.data(); };
  const bool accumulate = write == Write::accumulate;
  conv_relu_pool_backward<T>(q, p.c.shape(), x.data(), w.data(), gradient.data(), codes.data(), wanted(dx), write,
                             {wanted(dw), wanted(dbias), accumulate, accumulate});
  return {dx.host(), dw.host(), dbias.host()};
}

template <class T>
Gradients<T> unset(const ConvProblem<T>& p) {
  return {p.unset(p.c.x()), p.unset(p.c.w()), p.unset({p.c.out})};
}

template <class T>
std::vector<T> spread(const ConvCase& c, const std::vector<T>& dy, const std::vector<std::uint8_t>& code) {
  std::vector<T> full(static_cast<std::size_t>(c.y().numel()));
  const std::int64_t rows = c.out_height() / 2, columns = c.out_width() / 2;
  for (std::int64_t i = 0; i < c.pooled().numel(); ++i) {
    const std::int64_t place = code[static_cast<std::size_t>(i)];
    if (place > 3) continue;
    const std::int64_t o = i % c.out, q = i / c.out % columns, r = i / c.out / columns % rows;
    const std::int64_t n = i / c.out / columns / rows;
    full[static_cast<std::size_t>(
        ((n * c.out_height() + 2 * r + place / 2) * c.out_width() + 2 * q + place % 2) * c.out + o)] =
        dy[static_cast<std::size_t>(i)];
  }
  return full;
}

template <class T>
void check_backward(const ConvProblem<T>& p) {
  const Pooled<T> forward = pool(p.c, forward_with_relu(p, true));
  const std::vector<T> dy = test::random_values<T>(p.c.pooled().numel(), 10);
  ConvProblem<T> full = p;
  full.dy = spread(p.c, dy, forward.code);
  const ConvReference reference(full), magnitude = reference.in_magnitude();

  const Gradients<T> got = backward(p, dy, forward.code, unset(p), Write::overwrite);
  expect_close(got.dw, reference.filter(), magnitude.filter(), "dw");
  expect_close(got.dbias, reference.dbias(), magnitude.dbias(), "dbias");
  // The same sums of the same numbers as from the full gradient.
  EXPECT_TRUE(same_bits(got.dx, full.run(p.unset(p.c.x()), [](Stream& q, const ConvShape& s, const T*, const T* w,
                                                              const T*, const T* gradient, T* dx) {
    conv_backward_data(q, s, gradient, w, dx, Write::overwrite);
  })));

  const Gradients<T> start{test::random_values<T>(p.c.x().numel(), 7), test::random_values<T>(p.c.w().numel(), 8),
                           test::random_values<T>(p.c.out, 9)};
  const Gradients<T> added = backward(p, dy, forward.code, start, Write::accumulate);
  const auto expect_added = [](const std::vector<T>& sum, const std::vector<T>& a, const std::vector<T>& b) {
    for (std::size_t i = 0; i < sum.size(); ++i) {
      ASSERT_NEAR(sum[i], a[i] + b[i], 2 * test::unit<T>() * (std::abs(a[i]) + std::abs(b[i]))) << "element " << i;
    }
  };
  expect_added(added.dx, start.dx, got.dx);
  expect_added(added.dw, start.dw, got.dw);
  expect_added(added.dbias, start.dbias, got.dbias);
}

template <class T>
void check_all(const ConvCase& c, int offset) {
  if (c.pooled().numel() == 0) return;
  SCOPED_TRACE(c.name() + (offset != 0 ? ", unaligned" : ""));
  const ConvProblem<T> p(c, offset);
  check_forward(p, offset == 0);
  check_backward(p);
}

TEST(ConvPoolKernels, EqualTheThreeOneAfterAnotherInF32) {
  for (const ConvCase& c : conv_cases()) check_all<float>(c, 0);
}

TEST(ConvPoolKernels, EqualTheThreeOneAfterAnotherUnaligned) {
  for (const ConvCase& c : conv_cases()) check_all<float>(c, 1);
}

TEST(ConvPoolKernels, EqualTheThreeOneAfterAnotherInF64) {
  for (const ConvCase& c : conv_cases()) check_all<double>(c, 0);
}

TEST(ConvPoolKernels, AnySchedule) {
  for_schedules([] {
    check_all<float>({2, 5, 6, 2, 5, 3, 3, square(1, 1)}, 0);
    check_all<float>({1, 5, 6, 20, 12, 3, 3, square(1, 1)}, 0);
  });
}

// NaN wins its window, and ReLU does not zero it; an all-zero filter gives code 4 if there is no NaN.
TEST(ConvPoolKernels, NanAndZero) {
  for (const ConvCase& c :
       {ConvCase{1, 9, 8, 1, 12, 3, 3, square(1, 1)}, ConvCase{1, 6, 6, 12, 20, 3, 3, square(1, 1)}}) {
    SCOPED_TRACE(c.name());
    ConvProblem<float> p(c);
    p.x[p.x.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(p.w.begin(), p.w.size() / 2, 0.0f);
    check_forward(p, false);
    const std::vector<float> y = fused_by(p, ConvWay::tiles, false).y;
    EXPECT_TRUE(std::any_of(y.begin(), y.end(), [](float value) { return std::isnan(value); }));
  }
}

// Each gradient alone has the same bits as together with the others; gradients not requested are not written.
TEST(ConvPoolKernels, GradientsOneByOne) {
  for (const ConvCase& c :
       {ConvCase{2, 9, 8, 1, 12, 3, 3, square(1, 1)}, ConvCase{1, 6, 6, 16, 70, 3, 3, square(1, 1)}}) {
    SCOPED_TRACE(c.name());
    const ConvProblem<float> p(c);
    const std::vector<std::uint8_t> code = pool(c, forward_with_relu(p, true)).code;
    const std::vector<float> dy = test::random_values<float>(c.pooled().numel(), 10);
    const Gradients<float> start = unset(p), all = backward(p, dy, code, start, Write::overwrite);
    EXPECT_TRUE(same_bits(all.dx, backward(p, dy, code, {start.dx, {}, {}}, Write::overwrite).dx));
    EXPECT_TRUE(same_bits(all.dw, backward(p, dy, code, {{}, start.dw, {}}, Write::overwrite).dw));
    EXPECT_TRUE(same_bits(all.dbias, backward(p, dy, code, {{}, {}, start.dbias}, Write::overwrite).dbias));
  }
}

// If windows hold no pixels, gradients are zero, and nothing else happens.
TEST(ConvPoolKernels, SizesOfZero) {
  for (const ConvCase& c : {ConvCase{0, 6, 6, 3, 4, 3, 3}, ConvCase{2, 3, 3, 3, 4, 3, 3}}) {
    SCOPED_TRACE(c.name());
    const ConvProblem<float> p(c);
    TestStream q;
    conv_relu_pool<float>(q, c.shape(), p.x.data(), p.w.data(), nullptr, nullptr, nullptr);
    const Gradients<float> got = backward<float>(p, {}, {}, unset(p), Write::overwrite);
    for (const std::vector<float>* v : {&got.dx, &got.dw, &got.dbias}) {
      for (const float value : *v) EXPECT_EQ(value, 0);
    }
  }
}

// The bias gradient is a plain sum, within 8 units even for equal numbers, which round the same way at every step.
TEST(ConvPoolKernels, BiasGradientIsAnAccurateSum) {
  const ConvCase c{8, 24, 24, 1, 2, 1, 1};
  const ConvProblem<float> p(c);
  const std::vector<std::uint8_t> code(static_cast<std::size_t>(c.pooled().numel()), 3);
  for (const float value : {0.1f, 1.0f / 1152}) {
    const std::vector<float> dy(code.size(), value);
    const std::vector<float> dbias = backward(p, dy, code, unset(p), Write::overwrite).dbias;
    const double sum = static_cast<double>(value) * static_cast<double>(dy.size() / 2);
    for (const float got : dbias) EXPECT_NEAR(got, sum, 8 * test::unit<float>() * sum);
  }
}

TEST(ConvPoolKernels, NoInputChannels) { check_all<float>({2, 6, 6, 0, 4, 3, 3}, 0); }

}  // namespace
}  // namespace descent::gpu
