// Convolution kernels: the forward and the gradients against the CPU's reference loops, by every applicable
// algorithm; all of them must agree bit for bit.
#include "conv_checks.h"

namespace descent::gpu {
namespace {

using test::same_bits;

// Runs every algorithm from the same initial output and returns the first result, which the others must equal.
template <class T, class F>
std::vector<T> by_every_way(const std::vector<ConvWay>& ways, const F& run) {
  const std::vector<T> first = run(ways.front());
  for (std::size_t i = 1; i < ways.size(); ++i) {
    EXPECT_TRUE(same_bits(first, run(ways[i]))) << "way " << static_cast<int>(ways[i]);
  }
  return first;
}

template <class T>
void check_forward(const ConvProblem<T>& p, bool with_bias) {
  const ConvReference reference(p);
  const ConvGather job = conv_gather(p.c.shape(), false);
  const auto run = [&](ConvWay way, bool relu) {
    return p.run(p.unset(p.c.y()),
                 [&](Stream& q, const ConvShape& s, const T* x, const T* w, const T* bias, const T*, T* y) {
                   const ForwardTarget<T> target{y, with_bias ? bias : nullptr, relu,
                                                 quads_fit(y, job.target_channels(), job.target_group)};
                   conv_run(q, way, job, image_source(x, s.height, s.width, s.channels, job.source_group), w, target);
                 });
  };
  const std::vector<ConvWay> ways = conv_ways<PixelOrder, T>(job);
  const std::vector<T> plain = by_every_way<T>(ways, [&](ConvWay way) { return run(way, false); });
  expect_close(plain, reference.forward(with_bias), reference.in_magnitude().forward(with_bias), "forward");
  const std::vector<T> relu = run(ways.back(), true);
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(relu[i], plain[i] < 0 ? 0 : plain[i]) << "relu " << i;
}

// Accumulating adds the same value that overwriting writes.
template <class T>
void expect_added(const std::vector<T>& got, const std::vector<T>& start, const std::vector<T>& added,
                  const char* what) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], start[i] + added[i], 2 * test::unit<T>() * (std::abs(start[i]) + std::abs(added[i])))
        << what << ", element " << i;
  }
}

template <class T>
void check_data(const ConvProblem<T>& p) {
  const ConvReference reference(p);
  const ConvGather job = conv_gather(p.c.shape(), true);
  const auto run = [&](ConvWay way, const std::vector<T>& start, bool accumulate) {
    return p.run(start, [&](Stream& q, const ConvShape& s, const T*, const T* w, const T*, const T* dy, T* dx) {
      const GradientTarget<T> target{dx, accumulate, quads_fit(dx, job.target_channels(), job.target_group)};
      conv_run(q, way, job, image_source(dy, s.out_height, s.out_width, s.out_channels, job.source_group), w, target);
    });
  };
  const std::vector<ConvWay> ways = conv_ways<PixelOrder, T>(job);
  const std::vector<T> dx = by_every_way<T>(ways, [&](ConvWay way) { return run(way, p.unset(p.c.x()), false); });
  expect_close(dx, reference.data(), reference.in_magnitude().data(), "data");
  const std::vector<T> start = test::random_values<T>(p.c.x().numel(), 7);
  expect_added(by_every_way<T>(ways, [&](ConvWay way) { return run(way, start, true); }), start, dx, "data");
}

template <class T>
void check_filter(const ConvProblem<T>& p) {
  const ConvReference reference(p);
  const auto run = [&](const std::vector<T>& start, Write write) {
    return p.run(start, [&](Stream& q, const ConvShape& s, const T* x, const T*, const T*, const T* dy, T* dw) {
      conv_backward_filter(q, s, x, dy, dw, write);
    });
  };
  const std::vector<T> dw = run(p.unset(p.c.w()), Write::overwrite);
  expect_close(dw, reference.filter(), reference.in_magnitude().filter(), "filter");
  const std::vector<T> start = test::random_values<T>(p.c.w().numel(), 7);
  expect_added(run(start, Write::accumulate), start, dw, "filter");
}

template <class T>
void check_all(const ConvCase& c, int offset) {
  SCOPED_TRACE(c.name() + (offset != 0 ? ", unaligned" : ""));
  const ConvProblem<T> p(c, offset);
  check_forward(p, offset == 0);
  check_data(p);
  check_filter(p);
}

TEST(ConvKernels, EqualThePlainLoopsInF32) {
  for (const ConvCase& c : conv_cases()) check_all<float>(c, 0);
}

TEST(ConvKernels, EqualThePlainLoopsUnaligned) {
  for (const ConvCase& c : conv_cases()) check_all<float>(c, 1);
}

TEST(ConvKernels, EqualThePlainLoopsInF64) {
  for (const ConvCase& c : conv_cases()) check_all<double>(c, 0);
  check_all<double>({1, 6, 5, 12, 20, 3, 3, square(1, 1)}, 1);
}

// Small cases whose geometries cover every branch of the loaders.
TEST(ConvKernels, AnySchedule) {
  for_schedules([] {
    check_all<float>({2, 5, 6, 2, 5, 3, 3, square(1, 1)}, 0);
    check_all<float>({1, 5, 6, 20, 12, 3, 3, square(2, 1)}, 0);
    check_all<double>({1, 4, 4, 6, 6, 2, 2, square(1, 1, 1, 3)}, 0);
  });
}

// The launchers choose the algorithm themselves.
TEST(ConvKernels, PrimitivesChooseAWay) {
  for (const ConvCase& c : {ConvCase{2, 8, 8, 1, 32, 3, 3, square(1, 1)}, ConvCase{1, 6, 6, 32, 40, 3, 3, square(1, 1)},
                            ConvCase{1, 6, 6, 6, 6, 3, 3, square(1, 1, 1, 6)}}) {
    SCOPED_TRACE(c.name());
    const ConvProblem<float> p(c);
    const ConvReference reference(p);
    expect_close(
        p.run(p.unset(c.y()), [](Stream& q, const ConvShape& s, const float* x, const float* w, const float* bias,
                                 const float*, float* y) { conv_forward(q, s, x, w, bias, Activation::none, y); }),
        reference.forward(true), reference.in_magnitude().forward(true), "forward");
    expect_close(p.run(p.unset(c.x()),
                       [](Stream& q, const ConvShape& s, const float*, const float* w, const float*, const float* dy,
                          float* dx) { conv_backward_data(q, s, dy, w, dx, Write::overwrite); }),
                 reference.data(), reference.in_magnitude().data(), "data");
  }
  const auto way = [](const ConvCase& c, bool data) {
    return conv_way<PixelOrder>(conv_gather(c.shape(), data), sizeof(float));
  };
  const ConvCase first{128, 28, 28, 1, 32, 3, 3, square(1, 1)}, second{128, 14, 14, 32, 64, 3, 3, square(1, 1)};
  const ConvCase lenet{128, 14, 14, 6, 16, 5, 5, square(1, 0)}, depthwise{8, 14, 14, 32, 32, 3, 3, square(1, 1, 1, 32)};
  EXPECT_EQ(way(first, false), ConvWay::patches);
  EXPECT_EQ(way(first, true), ConvWay::patches);
  EXPECT_EQ(way(second, false), ConvWay::tiles);
  EXPECT_EQ(way(second, true), ConvWay::tiles);
  EXPECT_EQ(way(lenet, false), ConvWay::patches);
  EXPECT_EQ(way(lenet, true), ConvWay::patches);
  EXPECT_EQ(way(depthwise, false), ConvWay::direct);
}

// Sums of equal numbers round the same way at every step, which is why long chains are split.
TEST(ConvKernels, LongSumsOfEqualNumbersStayAccurate) {
  ConvProblem<float> p({1, 9, 9, 220, 3, 3, 3, square(1, 1)});
  for (std::vector<float>* v : {&p.x, &p.w, &p.bias, &p.dy}) std::fill(v->begin(), v->end(), 0.1f);
  check_forward(p, true);
  ConvProblem<float> q({8, 24, 24, 1, 2, 1, 1});
  for (std::vector<float>* v : {&q.x, &q.w, &q.bias, &q.dy}) std::fill(v->begin(), v->end(), 0.1f);
  check_filter(q);
}

// Enough partial sums that four threads add those of one element, and more elements than the blocks cover at once.
TEST(ConvKernels, ManyPartialSumsOfAFilter) {
  const ConvCase c{2, 40, 40, 1, 64, 3, 3, square(1, 1)};
  EXPECT_GE(conv_filter_plan(c.shape(), false).splits, 32);
  for_schedules([&] { check_filter(ConvProblem<float>(c)); });
}

TEST(ConvKernels, SizesOfZero) {
  // Without images, only the filter's gradient is written, and it is zero.
  {
    const ConvProblem<float> p({0, 5, 5, 3, 4, 3, 3});
    check_forward(p, true);
    check_data(p);
    check_filter(p);
  }
  // Without input channels, the forward is the bias.
  {
    const ConvProblem<float> p({2, 5, 5, 0, 4, 3, 3});
    check_forward(p, true);
    check_filter(p);
    const auto launched =
        p.run({}, [](Stream& q, const ConvShape& s, const float*, const float* w, const float*, const float* dy,
                     float* dx) { conv_backward_data(q, s, dy, w, dx, Write::overwrite); });
    EXPECT_TRUE(launched.empty());
  }
  // Without output channels, the data gradient is zero.
  {
    const ConvProblem<float> p({2, 5, 5, 3, 0, 3, 3});
    check_data(p);
    check_filter(p);
    p.run({}, [](Stream& q, const ConvShape& s, const float* x, const float* w, const float* bias, const float*,
                 float* y) { conv_forward(q, s, x, w, bias, Activation::none, y); });
  }
}

TEST(ConvKernels, RefusesSizesBeyondItsIntegers) {
  ConvShape s = ConvCase{1, 4, 4, 1, 1, 1, 1}.shape();
  s.height = std::int64_t{1} << 30;
  EXPECT_THROW(conv_gather(s, false), InvalidArgument);
}

}  // namespace
}  // namespace descent::gpu
