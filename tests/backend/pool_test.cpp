// Pooling: small cases by hand, the fast path against the reference loops, gradients as adjoints.
#include <gtest/gtest.h>

#include "cpu/pool/kernels.h"
#include "support/cpu_kernels.h"

namespace descent {
namespace {

using test::Fenced;

template <class T>
class PoolTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PoolTest, Types);

struct Case {
  std::int64_t n, h, w, c;
  Pool2dOptions g;

  Shape x() const { return {n, h, w, c}; }
  Shape y() const {
    return {n, (h + 2 * g.padding_h - g.kernel_h) / g.stride_h + 1, (w + 2 * g.padding_w - g.kernel_w) / g.stride_w + 1,
            c};
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::int64_t c : {1, 3, 8, 31, 32, 33, 64}) {
    all.push_back({3, 6, 8, c, {}});
    all.push_back({2, 7, 5, c, {}});
    all.push_back({2, 9, 7, c, {3, 3, 2, 2, 1, 1, true}});
    all.push_back({2, 9, 7, c, {3, 3, 2, 2, 1, 1, false}});
    all.push_back({1, 6, 6, c, {3, 2, 1, 1, 1, 0, false}});
    all.push_back({1, 5, 9, c, {2, 2, 3, 3, 0, 1, true}});
  }
  all.push_back({0, 4, 4, 3, {}});
  all.push_back({2, 4, 4, 0, {}});
  all.push_back({1, 20, 40, 5, {17, 18, 2, 3, 8, 9, true}});  // windows of more than 256 elements
  all.push_back({5, 28, 28, 33, {}});
  return all;
}

bool narrow(const Pool2dOptions& g) { return g.kernel_h * g.kernel_w <= 256; }

template <class T>
struct Codes {  // u8 or i32, depending on the window
  Fenced<std::uint8_t> narrow_codes;
  Fenced<std::int32_t> wide_codes;
  bool is_narrow;

  explicit Codes(const Case& c)
      : narrow_codes(narrow(c.g) ? c.y().numel() : 0),
        wide_codes(narrow(c.g) ? 0 : c.y().numel()),
        is_narrow(narrow(c.g)) {}
  View view(const Shape& s) { return is_narrow ? narrow_codes.view(s) : wide_codes.view(s); }
  friend bool same_bits(const Codes& a, const Codes& b) {
    return same_bits(a.narrow_codes, b.narrow_codes) && same_bits(a.wide_codes, b.wide_codes);
  }
  bool fences_hold() const { return narrow_codes.fences_hold() && wide_codes.fences_hold(); }
};

template <class T>
struct MaxResult {
  Fenced<T> y, overwritten, accumulated;
  Codes<T> codes;

  friend bool same_bits(const MaxResult& a, const MaxResult& b) {
    return same_bits(a.y, b.y) && same_bits(a.overwritten, b.overwritten) && same_bits(a.accumulated, b.accumulated) &&
           same_bits(a.codes, b.codes);
  }
  bool fences_hold() const {
    return y.fences_hold() && overwritten.fences_hold() && accumulated.fences_hold() && codes.fences_hold();
  }
};

TYPED_TEST(PoolTest, MaxIsTheSameBitsAsThePlainLoops) {
  using T = TypeParam;
  for (const Case& c : cases()) {
    SCOPED_TRACE(to_string(c.x()) + " to " + to_string(c.y()));
    test::Numbers numbers(4);
    auto x = numbers.fenced<T>(c.x().numel());
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] = std::round(x[i] * 4) / 4;  // with ties
    for (std::int64_t i = 5; i < x.size(); i += 97) x[i] = std::numeric_limits<T>::quiet_NaN();
    for (std::int64_t i = 7; i < x.size(); i += 5) x[i] = -std::numeric_limits<T>::infinity();
    const auto dy = numbers.fenced<T>(c.y().numel()), before = numbers.fenced<T>(c.x().numel());
    const auto run = [&] {
      MaxResult<T> r{Fenced<T>(c.y().numel()), Fenced<T>(c.x().numel()), before, Codes<T>(c)};
      Pool* const pool = cpu::pool_ops();
      pool->max_forward(c.g, x.view(c.x()), r.y.view(c.y()), r.codes.view(c.y()));
      pool->max_backward(c.g, dy.view(c.y()), r.codes.view(c.y()), {r.overwritten.view(c.x()), Write::overwrite});
      pool->max_backward(c.g, dy.view(c.y()), r.codes.view(c.y()), {r.accumulated.view(c.x()), Write::accumulate});
      return r;
    };
    const auto fast = test::same_for_all_threads(run);
    EXPECT_TRUE(fast.fences_hold());
    const test::ReferenceOnly reference;
    const auto plain = run();
    EXPECT_TRUE(plain.fences_hold());
    EXPECT_TRUE(same_bits(fast.y, plain.y));
    EXPECT_TRUE(same_bits(fast.codes, plain.codes));
    for (std::int64_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(fast.overwritten[i], plain.overwritten[i]) << i;
      ASSERT_EQ(fast.accumulated[i], plain.accumulated[i]) << i;
    }
  }
}

TYPED_TEST(PoolTest, AverageAgreesWithThePlainLoops) {
  using T = TypeParam;
  const double tolerance = 8 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (const Case& c : cases()) {
    SCOPED_TRACE(to_string(c.x()) + " to " + to_string(c.y()));
    test::Numbers numbers(4);
    const auto x = numbers.fenced<T>(c.x().numel());
    const auto dy = numbers.fenced<T>(c.y().numel()), before = numbers.fenced<T>(c.x().numel());
    const Shape means{c.n, c.c};
    const auto dmeans = numbers.fenced<T>(means.numel());
    const auto run = [&] {
      MaxResult<T> r{Fenced<T>(c.y().numel()), Fenced<T>(c.x().numel()), before, Codes<T>(c)};
      MaxResult<T> global{Fenced<T>(means.numel()), Fenced<T>(c.x().numel()), before, Codes<T>(c)};
      Pool* const pool = cpu::pool_ops();
      pool->average_forward(c.g, x.view(c.x()), r.y.view(c.y()));
      pool->average_backward(c.g, dy.view(c.y()), {r.overwritten.view(c.x()), Write::overwrite});
      pool->average_backward(c.g, dy.view(c.y()), {r.accumulated.view(c.x()), Write::accumulate});
      pool->global_average_forward(x.view(c.x()), global.y.view(means));
      pool->global_average_backward(dmeans.view(means), {global.overwritten.view(c.x()), Write::overwrite});
      pool->global_average_backward(dmeans.view(means), {global.accumulated.view(c.x()), Write::accumulate});
      EXPECT_TRUE(r.fences_hold() && global.fences_hold());
      return std::pair(r, global);
    };
    const auto fast = test::with_threads(2, run);
    const auto one = test::with_threads(1, run), four = test::with_threads(4, run);
    EXPECT_TRUE(same_bits(fast.first, one.first) && same_bits(fast.second, one.second));
    EXPECT_TRUE(same_bits(fast.first, four.first) && same_bits(fast.second, four.second));
    const test::ReferenceOnly reference;
    const auto plain = run();
    const auto expect_near = [&](const MaxResult<T>& a, const MaxResult<T>& b) {
      for (std::int64_t i = 0; i < a.y.size(); ++i) ASSERT_NEAR(double(a.y[i]), double(b.y[i]), tolerance) << i;
      for (std::int64_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(double(a.overwritten[i]), double(b.overwritten[i]), tolerance) << i;
        ASSERT_NEAR(double(a.accumulated[i]), double(b.accumulated[i]), tolerance) << i;
      }
    };
    expect_near(fast.first, plain.first);
    expect_near(fast.second, plain.second);
  }
}

// <pool(x), dy> = <x, pool'(dy)> holds exactly for a linear map, whatever the implementation.
TEST(PoolAdjoint, AverageInF64) {
  for (const Case& c : cases()) {
    test::Numbers numbers(9);
    const auto x = numbers.fenced<double>(c.x().numel()), dy = numbers.fenced<double>(c.y().numel());
    Fenced<double> y(c.y().numel()), dx(c.x().numel());
    cpu::pool_ops()->average_forward(c.g, x.view(c.x()), y.view(c.y()));
    cpu::pool_ops()->average_backward(c.g, dy.view(c.y()), {dx.view(c.x()), Write::overwrite});
    double forward = 0, backward = 0, size = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) forward += y[i] * dy[i], size += std::abs(y[i] * dy[i]);
    for (std::int64_t i = 0; i < x.size(); ++i) backward += x[i] * dx[i];
    EXPECT_NEAR(forward, backward, 1e-13 * (size + 1)) << to_string(c.x());
  }
}

TEST(PoolByHand, PaddingNeverWinsAndCountsOnlyWhenAsked) {
  Fenced<float> x(4), y(4);
  Fenced<std::uint8_t> code(4);
  const float values[] = {-1, -2, -3, -4};
  for (std::int64_t i = 0; i < 4; ++i) x[i] = values[i];
  Pool2dOptions g{2, 2, 2, 2, 1, 1, true};
  Pool* const pool = cpu::pool_ops();
  pool->max_forward(g, x.view({1, 2, 2, 1}), y.view({1, 2, 2, 1}), code.view({1, 2, 2, 1}));
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(y[i], values[i]);
  const std::uint8_t places[] = {3, 2, 1, 0};
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(code[i], places[i]);
  pool->average_forward(g, x.view({1, 2, 2, 1}), y.view({1, 2, 2, 1}));
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(y[i], values[i] / 4);
  g.count_include_pad = false;
  pool->average_forward(g, x.view({1, 2, 2, 1}), y.view({1, 2, 2, 1}));
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(y[i], values[i]);
}

TEST(PoolByHand, TheFirstMaximumAndNaNWin) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), low = -std::numeric_limits<float>::infinity();
  const float windows[][4] = {{1, 3, 3, 2}, {low, low, low, low}, {1, nan, 5, nan}, {nan, 1, 2, 3}, {0, -0.0F, 0, 0}};
  const int winner[] = {1, 0, 1, 0, 0};
  for (std::size_t i = 0; i < std::size(windows); ++i) {
    float x[4], y = 0;
    std::copy(windows[i], windows[i] + 4, x);
    std::uint8_t code = 9;
    cpu::pool_ops()->max_forward({}, {x, {1, 2, 2, 1}, DType::f32}, {&y, {1, 1, 1, 1}, DType::f32},
                                 {&code, {1, 1, 1, 1}, DType::u8});
    EXPECT_EQ(code, winner[i]) << i;
    EXPECT_EQ(std::isnan(y), std::isnan(x[winner[i]])) << i;
    if (!std::isnan(y)) {
      EXPECT_EQ(y, x[winner[i]]) << i;
    }
  }
}

}  // namespace
}  // namespace descent
