// The fast convolution against the reference implementation: a sweep of geometries, both element types, both write
// modes, fenced buffers, any number of threads. Some properties are exact: fused equals unfused, and backward_data is
// the adjoint of the forward pass.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "core/fusion.h"
#include "cpu/conv/plan.h"
#include "support/cpu_kernels.h"

namespace descent {
namespace {

using test::Fenced;
using test::Numbers;

struct Case {
  std::int64_t images, height, width, channels, out, kernel_h, kernel_w;
  Conv2dFuncOptions g = {};

  std::int64_t out_height() const {
    return (height + 2 * g.padding_h - g.dilation_h * (kernel_h - 1) - 1) / g.stride_h + 1;
  }
  std::int64_t out_width() const {
    return (width + 2 * g.padding_w - g.dilation_w * (kernel_w - 1) - 1) / g.stride_w + 1;
  }
  Shape x() const { return {images, height, width, channels}; }
  Shape w() const { return {out, kernel_h, kernel_w, channels / g.groups}; }
  Shape y() const { return {images, out_height(), out_width(), out}; }
  Shape pooled() const { return {images, out_height() / 2, out_width() / 2, out}; }
  bool can_pool() const { return out_height() >= 2 && out_width() >= 2; }
};

std::string name_of(const Case& c) {
  return fmt::format("x {} w {} stride {}x{} pad {}x{} dilation {}x{} groups {}", to_string(c.x()), to_string(c.w()),
                     c.g.stride_h, c.g.stride_w, c.g.padding_h, c.g.padding_w, c.g.dilation_h, c.g.dilation_w,
                     c.g.groups);
}

Conv2dFuncOptions geometry(std::int64_t stride, std::int64_t pad, std::int64_t dilation = 1, std::int64_t groups = 1) {
  return {stride, stride, pad, pad, dilation, dilation, groups};
}

std::vector<Case> cases() {
  std::vector<Case> all = {
      {3, 28, 28, 1, 32, 3, 3, geometry(1, 1)},
      {3, 14, 14, 32, 64, 3, 3, geometry(1, 1)},  // the cnn preset
      {3, 28, 28, 1, 6, 5, 5, geometry(1, 2)},
      {3, 14, 14, 6, 16, 5, 5, geometry(1, 0)},  // lenet5
      {2, 5, 5, 3, 10, 5, 5, geometry(1, 0)},
      {2, 1, 1, 4, 4, 1, 1},
      {1, 7, 9, 5, 7, 3, 2, {1, 1, 1, 0, 1, 1, 1}},
      {1, 9, 4, 8, 9, 2, 3, {2, 1, 0, 2, 1, 1, 1}},
      {2, 8, 8, 16, 24, 1, 1},
      {2, 9, 9, 12, 20, 1, 1, geometry(2, 0)},
      {2, 11, 13, 4, 6, 3, 3, geometry(2, 1)},
      {2, 11, 13, 17, 33, 3, 3, geometry(3, 2)},
      {2, 12, 12, 5, 9, 3, 3, geometry(1, 2, 2)},
      {2, 13, 12, 9, 5, 3, 3, geometry(2, 3, 3)},
      {2, 10, 10, 6, 8, 3, 3, geometry(1, 1, 1, 2)},
      {2, 10, 10, 6, 6, 3, 3, geometry(1, 1, 1, 6)},
      {2, 10, 11, 8, 12, 3, 3, geometry(2, 1, 2, 4)},
      {1, 6, 6, 48, 80, 3, 3, geometry(1, 1)},
      {2, 6, 6, 3, 4, 3, 3, geometry(1, 4)},
      {2, 6, 7, 3, 4, 2, 2, geometry(5, 0)},
      {1, 4, 4, 130, 18, 3, 3, geometry(1, 1)},
      {1, 3, 3, 600, 5, 3, 3, geometry(1, 1)},  // chains of additions that are split
      {17, 4, 4, 2, 3, 3, 3, geometry(1, 1)},
      {33, 2, 2, 1, 1, 2, 2},
      {1, 40, 37, 3, 8, 7, 7, geometry(2, 3)},
      {1, 70, 70, 16, 16, 3, 3, geometry(1, 1)},
  };
  for (std::int64_t channels = 1; channels <= 70; channels += 3) {
    all.push_back({1, 5, 6, channels, 71 - channels, 3, 3, geometry(1, 1)});
  }
  return all;
}

template <class T>
Fenced<T> magnitudes(const Fenced<T>& a) {
  Fenced<T> m(a.size());
  for (std::int64_t i = 0; i < a.size(); ++i) m[i] = std::abs(a[i]);
  return m;
}

// |got - expected| within 16 units of `scale`, the sum of the absolute products.
template <class T>
void expect_close(const Fenced<T>& got, const Fenced<T>& expected, const Fenced<T>& scale, const std::string& what) {
  EXPECT_TRUE(got.fences_hold()) << what;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    ASSERT_LE(error, 8 * static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(scale[i]))
        << what << ", element " << i << ": " << got[i] << ", expected " << expected[i];
  }
}

template <class T>
struct Problem {
  Case c;
  Fenced<T> x, w, bias, dy;

  explicit Problem(const Case& c_)
      : c(c_),
        x(Numbers(1).fenced<T>(c.x().numel())),
        w(Numbers(2).fenced<T>(c.w().numel())),
        bias(Numbers(3).fenced<T>(c.out)),
        dy(Numbers(4).fenced<T>(c.y().numel())) {}
  Problem(const Case& c_, const Problem& of)  // the same with absolute values
      : c(c_), x(magnitudes(of.x)), w(magnitudes(of.w)), bias(magnitudes(of.bias)), dy(magnitudes(of.dy)) {}

  Conv& conv() const { return *cpu::backend().conv; }

  Fenced<T> forward(Activation activation = Activation::none, bool with_bias = true) const {
    Fenced<T> y(c.y().numel());
    const ConstView b = with_bias ? bias.view({c.out}) : ConstView();
    conv().forward(c.g, x.view(c.x()), w.view(c.w()), b, activation, y.view(c.y()));
    return y;
  }
  Fenced<T> data(Write write = Write::overwrite) const {
    Fenced<T> dx = write == Write::accumulate ? Numbers(5).fenced<T>(c.x().numel()) : Fenced<T>(c.x().numel());
    conv().backward_data(c.g, dy.view(c.y()), w.view(c.w()), {dx.view(c.x()), write});
    return dx;
  }
  Fenced<T> filter(Write write = Write::overwrite) const {
    Fenced<T> dw = write == Write::accumulate ? Numbers(6).fenced<T>(c.w().numel()) : Fenced<T>(c.w().numel());
    conv().backward_filter(c.g, x.view(c.x()), dy.view(c.y()), {dw.view(c.w()), write});
    return dw;
  }
};

template <class F>
auto by_reference(const F& f) {
  const test::ReferenceOnly only;
  return f();
}

template <class T>
void check_against_reference(const Case& c) {
  const std::string name = name_of(c);
  const Problem<T> p(c), m(c, p);
  const auto check = [&](const std::string& what, const auto& f) {
    const Fenced<T> got = test::same_for_all_threads([&] { return f(p); });
    expect_close(got, by_reference([&] { return f(p); }), by_reference([&] { return f(m); }), name + ": " + what);
  };
  check("forward", [](const Problem<T>& q) { return q.forward(); });
  check("forward without bias", [](const Problem<T>& q) { return q.forward(Activation::none, false); });
  check("backward_data", [](const Problem<T>& q) { return q.data(); });
  check("backward_filter", [](const Problem<T>& q) { return q.filter(); });
  // Accumulation adds to previous contents of either sign, so the scale comes from an overwriting run on magnitudes,
  // plus 1 for the previous contents.
  const auto check_added = [&](const std::string& what, const auto& f) {
    Fenced<T> scale = by_reference([&] { return f(m, Write::overwrite); });
    for (std::int64_t i = 0; i < scale.size(); ++i) scale[i] += 1;
    const auto got = test::same_for_all_threads([&] { return f(p, Write::accumulate); });
    expect_close(got, by_reference([&] { return f(p, Write::accumulate); }), scale, name + ": " + what);
  };
  check_added("accumulated backward_data", [](const Problem<T>& q, Write write) { return q.data(write); });
  check_added("accumulated backward_filter", [](const Problem<T>& q, Write write) { return q.filter(write); });
}

TEST(ConvFast, EqualsThePlainLoopsInF32) {
  for (const Case& c : cases()) check_against_reference<float>(c);
}

TEST(ConvFast, EqualsThePlainLoopsInF64) {
  for (const Case& c : cases()) check_against_reference<double>(c);
}

double dot(const Fenced<double>& a, const Fenced<double>& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(ConvFast, GradientsAreAdjoints) {
  for (const Case& c : cases()) {
    const Problem<double> p(c), m(c, p);
    const double forward = dot(p.forward(Activation::none, false), p.dy);
    const double scale = dot(m.forward(Activation::none, false), m.dy);
    EXPECT_NEAR(forward, dot(p.data(), p.x), 1e-13 * scale) << name_of(c);
    EXPECT_NEAR(forward, dot(p.filter(), p.w), 1e-13 * scale) << name_of(c);
  }
}

template <class T>
void check_relu(const Case& c) {
  const Problem<T> p(c);
  const Fenced<T> plain = p.forward(), relu = p.forward(Activation::relu);
  for (std::int64_t i = 0; i < plain.size(); ++i) ASSERT_EQ(relu[i], plain[i] < 0 ? 0 : plain[i]) << name_of(c);
}

TEST(ConvFast, ReluIsTheForwardWithoutNegatives) {
  for (const Case& c : cases()) {
    check_relu<float>(c);
    check_relu<double>(c);
  }
}

// ---- pooled ----

template <class T>
struct Pooled {
  Fenced<T> y;
  Fenced<std::uint8_t> code;
  bool fences_hold() const { return y.fences_hold() && code.fences_hold(); }
  friend bool same_bits(const Pooled& a, const Pooled& b) { return same_bits(a.y, b.y) && same_bits(a.code, b.code); }
};

template <class T>
Pooled<T> pooled_forward(const Problem<T>& p) {
  Pooled<T> r{Fenced<T>(p.c.pooled().numel()), Fenced<std::uint8_t>(p.c.pooled().numel())};
  p.conv().forward(p.c.g, p.x.view(p.c.x()), p.w.view(p.c.w()), p.bias.view({p.c.out}), kReluMaxPool,
                   r.y.view(p.c.pooled()), r.code.view(p.c.pooled()));
  return r;
}

// Pools the unfused forward by the definition.
template <class T>
Pooled<T> pool(const Case& c, const Fenced<T>& y) {
  Pooled<T> r{Fenced<T>(c.pooled().numel()), Fenced<std::uint8_t>(c.pooled().numel())};
  const std::int64_t rows = c.out_height() / 2, columns = c.out_width() / 2;
  for (std::int64_t i = 0; i < r.y.size(); ++i) {
    const std::int64_t o = i % c.out, q = i / c.out % columns, row = i / c.out / columns % rows,
                       n = i / c.out / columns / rows;
    const auto at = [&](std::int64_t k) {
      return y[((n * c.out_height() + 2 * row + k / 2) * c.out_width() + 2 * q + k % 2) * c.out + o];
    };
    std::int64_t best = 0;
    for (std::int64_t k = 1; k < 4; ++k) {
      if (at(k) > at(best) || (std::isnan(at(k)) && !std::isnan(at(best)))) best = k;
    }
    r.y[i] = at(best);
    r.code[i] = static_cast<std::uint8_t>(at(best) <= 0 ? 4 : best);
  }
  return r;
}

template <class T>
void check_pooled_forward(const Problem<T>& p) {
  const Pooled<T> fused = test::same_for_all_threads([&] { return pooled_forward(p); });
  EXPECT_TRUE(fused.fences_hold()) << name_of(p.c);
  EXPECT_TRUE(same_bits(fused, pool(p.c, p.forward(Activation::relu)))) << name_of(p.c);
}

TEST(ConvFast, FusedPoolHasTheBitsOfTheThreeOneAfterAnother) {
  for (const Case& c : cases()) {
    if (!c.can_pool()) continue;
    check_pooled_forward(Problem<float>(c));
    check_pooled_forward(Problem<double>(c));
    Problem<float> p(c);
    p.x[p.x.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t i = 0; i < p.w.size(); i += 3) p.w[i] = 0;
    const Pooled<float> fused = pooled_forward(p), apart = pool(c, p.forward(Activation::relu));
    EXPECT_TRUE(same_bits(fused.code, apart.code)) << name_of(c);
    for (std::int64_t i = 0; i < fused.y.size(); ++i) {
      ASSERT_TRUE(fused.y[i] == apart.y[i] || (std::isnan(fused.y[i]) && std::isnan(apart.y[i]))) << name_of(c);
    }
  }
}

template <class T>
struct Gradients {
  Fenced<T> dx, dw, dbias;
  friend bool same_bits(const Gradients& a, const Gradients& b) {
    return same_bits(a.dx, b.dx) && same_bits(a.dw, b.dw) && same_bits(a.dbias, b.dbias);
  }
};

template <class T>
Gradients<T> pooled_backward(const Problem<T>& p, const Pooled<T>& forward, const Fenced<T>& dy, Write write) {
  const auto begin = [&](std::int64_t n, std::uint64_t seed) {
    return write == Write::accumulate ? Numbers(seed).fenced<T>(n) : Fenced<T>(n);
  };
  Gradients<T> r{begin(p.x.size(), 7), begin(p.w.size(), 8), begin(p.c.out, 9)};
  p.conv().backward_pooled(p.c.g, p.x.view(p.c.x()), p.w.view(p.c.w()), dy.view(p.c.pooled()),
                           forward.code.view(p.c.pooled()), {r.dx.view(p.c.x()), write}, {r.dw.view(p.c.w()), write},
                           {r.dbias.view({p.c.out}), write});
  return r;
}

template <class T>
void check_pooled_backward(const Case& c) {
  const Problem<T> p(c), m(c, p);
  const Pooled<T> forward = pooled_forward(p);
  const Fenced<T> dy = Numbers(10).fenced<T>(forward.y.size());
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    const Gradients<T> got = test::same_for_all_threads([&] { return pooled_backward(p, forward, dy, write); });
    const Gradients<T> expected = by_reference([&] { return pooled_backward(p, forward, dy, write); });
    Gradients<T> scale = by_reference([&] { return pooled_backward(m, forward, magnitudes(dy), Write::overwrite); });
    if (write == Write::accumulate) {
      for (Fenced<T>* f : {&scale.dx, &scale.dw, &scale.dbias}) {
        for (std::int64_t i = 0; i < f->size(); ++i) (*f)[i] += 1;
      }
    }
    expect_close(got.dx, expected.dx, scale.dx, name_of(c) + ": dx");
    expect_close(got.dw, expected.dw, scale.dw, name_of(c) + ": dw");
    expect_close(got.dbias, expected.dbias, scale.dbias, name_of(c) + ": dbias");
  }
}

TEST(ConvFast, GradientsBehindThePoolEqualThePlainLoops) {
  for (const Case& c : cases()) {
    if (!c.can_pool()) continue;
    check_pooled_backward<float>(c);
    check_pooled_backward<double>(c);
  }
}

// Each gradient alone is the same as with the others; gradients that are not requested stay untouched.
TEST(ConvFast, GradientsBehindThePoolOneByOne) {
  for (const Case& c : {Case{3, 14, 14, 32, 64, 3, 3, geometry(1, 1)}, Case{3, 9, 11, 1, 6, 5, 5, geometry(1, 2)}}) {
    const Problem<float> p(c);
    const Pooled<float> forward = pooled_forward(p);
    const Fenced<float> dy = Numbers(10).fenced<float>(forward.y.size());
    const Gradients<float> all = pooled_backward(p, forward, dy, Write::overwrite);
    Gradients<float> one{Fenced<float>(p.x.size()), Fenced<float>(p.w.size()), Fenced<float>(c.out)};
    const auto run = [&](const Grad& dx, const Grad& dw, const Grad& dbias) {
      p.conv().backward_pooled(c.g, p.x.view(c.x()), p.w.view(c.w()), dy.view(c.pooled()),
                               forward.code.view(c.pooled()), dx, dw, dbias);
    };
    run({one.dx.view(c.x())}, {}, {});
    run({}, {one.dw.view(c.w())}, {});
    run({}, {}, {one.dbias.view({c.out})});
    EXPECT_TRUE(same_bits(one, all)) << name_of(c);
  }
}

// Buffers of the exact size (so that a sanitizer sees a read past the end), at another alignment: the same bits.
TEST(ConvFast, BuffersOfExactSize) {
  const auto copy = [](const auto& from) { return std::vector(from.data(), from.data() + from.size()); };
  const auto same = [](const auto& a, const auto& b) {
    return static_cast<std::int64_t>(a.size()) == b.size() &&
           std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  const auto view = [](auto& values, const Shape& shape) {
    return View{values.data(), shape, dtype_of<std::remove_cvref_t<decltype(values[0])>>};
  };
  for (const Case& c : cases()) {
    const Problem<float> p(c);
    std::vector<float> x = copy(p.x), w = copy(p.w), bias = copy(p.bias), dy = copy(p.dy);
    std::vector<float> y(dy.size()), dx(x.size()), dw(w.size()), dbias(bias.size());
    const Grad to_dx{view(dx, c.x()), Write::overwrite}, to_dw{view(dw, c.w()), Write::overwrite};
    p.conv().forward(c.g, view(x, c.x()), view(w, c.w()), view(bias, {c.out}), Activation::none, view(y, c.y()));
    p.conv().backward_data(c.g, view(dy, c.y()), view(w, c.w()), to_dx);
    p.conv().backward_filter(c.g, view(x, c.x()), view(dy, c.y()), to_dw);
    EXPECT_TRUE(same(y, p.forward()) && same(dx, p.data()) && same(dw, p.filter())) << name_of(c);
    if (!c.can_pool()) continue;
    const Pooled<float> forward = pooled_forward(p);
    const Fenced<float> dpooled = Numbers(10).fenced<float>(forward.y.size());
    const Gradients<float> gradients = pooled_backward(p, forward, dpooled, Write::overwrite);
    std::vector<float> pooled(static_cast<std::size_t>(forward.y.size())), dp = copy(dpooled);
    std::vector<std::uint8_t> code(pooled.size());
    p.conv().forward(c.g, view(x, c.x()), view(w, c.w()), view(bias, {c.out}), kReluMaxPool, view(pooled, c.pooled()),
                     view(code, c.pooled()));
    p.conv().backward_pooled(c.g, view(x, c.x()), view(w, c.w()), view(dp, c.pooled()), view(code, c.pooled()), to_dx,
                             to_dw, {view(dbias, {c.out}), Write::overwrite});
    EXPECT_TRUE(same(pooled, forward.y) && same(code, forward.code)) << name_of(c);
    EXPECT_TRUE(same(dx, gradients.dx) && same(dw, gradients.dw) && same(dbias, gradients.dbias)) << name_of(c);
  }
}

TEST(ConvFast, ReluAndPoolPassNaN) {
  const Case c{1, 4, 4, 1, 3, 1, 1};
  Problem<float> p(c);
  p.x[5] = std::numeric_limits<float>::quiet_NaN();
  const Fenced<float> y = p.forward(Activation::relu);
  const Pooled<float> pooled = pooled_forward(p);
  for (std::int64_t o = 0; o < c.out; ++o) {
    EXPECT_TRUE(std::isnan(y[5 * c.out + o]));
    EXPECT_TRUE(std::isnan(pooled.y[o]));
    EXPECT_EQ(pooled.code[o], 3);
  }
}

TEST(ConvFast, SizesOfZero) {
  for (const Case& c : {Case{0, 5, 5, 3, 4, 3, 3}, Case{2, 5, 5, 0, 4, 3, 3}, Case{2, 5, 5, 3, 0, 3, 3}}) {
    const Problem<float> p(c);
    const Fenced<float> y = p.forward(), dx = p.data(), dw = p.filter();
    for (std::int64_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], p.bias[i % c.out]) << name_of(c);
    for (std::int64_t i = 0; i < dx.size(); ++i) EXPECT_EQ(dx[i], 0) << name_of(c);
    for (std::int64_t i = 0; i < dw.size(); ++i) EXPECT_EQ(dw[i], 0) << name_of(c);
  }
}

// Offsets beyond 32 bits and thousands of phases are left to the reference implementation.
TEST(ConvFast, PlansRefuseWhatDoesNotFit) {
  ConvShape s{1, 70000, 70000, 1, 70000, 70000, 1, 1, 1, {}};
  EXPECT_EQ(cpu::conv_plan(cpu::ConvDirection::forward, s, 8, 2), nullptr);
  s = {1, 2000, 2000, 1, 1, 1, 1, 1, 1, geometry(5000, 0)};
  EXPECT_EQ(cpu::conv_plan(cpu::ConvDirection::data, s, 8, 2), nullptr);
  s = {1, 14, 14, 32, 14, 14, 64, 3, 3, geometry(1, 1)};
  EXPECT_NE(cpu::conv_plan(cpu::ConvDirection::data, s, 8, 2), nullptr);
}

}  // namespace
}  // namespace descent
