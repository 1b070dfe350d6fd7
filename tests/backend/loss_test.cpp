// Losses against naive formulas in long double, their gradients against central differences, and extreme logits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backend_test.h"

namespace descent {
namespace {

using namespace descent::test;
using Real = long double;
using Reals = std::vector<Real>;

template <class T>
Reals widen(const GuardedBuffer<T>& x) {
  return Reals(x.data(), x.data() + x.size());
}

// log(softmax(x))[j] of a row of n elements, straight from the definition.
Real log_softmax(const Real* x, std::int64_t n, std::int64_t j) {
  Real sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - x[j]);
  return -std::log(sum);
}

struct Setting {
  CrossEntropy options;
  bool weighted, probabilities;
};

// PyTorch's definition: each row's loss is -sum over classes of w q log p, with q smoothed; the mean over labels
// divides by the sum of their weights.
Reals naive_cross_entropy(const Setting& s, const Reals& x, std::int64_t classes,
                          const std::vector<std::int32_t>& label, const Reals& probability, const Reals& weight) {
  const auto rows = static_cast<std::int64_t>(x.size()) / classes;
  const Real smoothing = s.options.label_smoothing;
  Reals losses;
  Real divisor = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    Real loss = 0;
    if (s.probabilities) {
      for (std::int64_t j = 0; j < classes; ++j) {
        const Real q = probability[static_cast<std::size_t>(r * classes + j)] * (1 - smoothing) +
                       smoothing / static_cast<Real>(classes);
        loss -= weight[static_cast<std::size_t>(j)] * q *
                log_softmax(&x[static_cast<std::size_t>(r * classes)], classes, j);
      }
      divisor += 1;
    } else if (const std::int32_t t = label[static_cast<std::size_t>(r)]; t != s.options.ignore_index) {
      const Real nll =
          -weight[static_cast<std::size_t>(t)] * log_softmax(&x[static_cast<std::size_t>(r * classes)], classes, t);
      Real smooth = 0;
      for (std::int64_t j = 0; j < classes; ++j) {
        smooth -=
            weight[static_cast<std::size_t>(j)] * log_softmax(&x[static_cast<std::size_t>(r * classes)], classes, j);
      }
      loss = (1 - smoothing) * nll + smoothing / static_cast<Real>(classes) * smooth;
      divisor += weight[static_cast<std::size_t>(t)];
    }
    losses.push_back(loss);
  }
  if (s.options.reduction == Reduction::none) return losses;
  Real sum = 0;
  for (const Real loss : losses) sum += loss;
  return {s.options.reduction == Reduction::mean ? sum / divisor : sum};
}

template <class T>
class LossTest : public testing::Test {};
using Floating = testing::Types<float, double>;
TYPED_TEST_SUITE(LossTest, Floating);

TYPED_TEST(LossTest, SoftmaxAndLogSoftmax) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 2, 10, 33, 1025}) {
    for (const std::int64_t rows : {0, 1, 31, 128}) {
      GuardedBuffer<T> x(Shape{rows, n}, random_values<T>(rows * n, 31, -8, 8)), y(x.shape()), log_y(x.shape());
      cpu_backend().softmax->softmax(x.view(), y.view());
      cpu_backend().softmax->log_softmax(x.view(), log_y.view());
      const Reals wide = widen(x);
      Real of_first = 0;
      for (std::int64_t i = 0; i < rows * n; ++i) {
        const auto first = static_cast<std::size_t>(i / n * n);
        if (i % n == 0) of_first = log_softmax(&wide[first], n, 0);
        const Real expected = of_first + (wide[static_cast<std::size_t>(i)] - wide[first]);
        // The exponent's rounding error is relative to its magnitude, at most 16.
        ASSERT_NEAR(static_cast<double>(y[i]), static_cast<double>(std::exp(expected)),
                    24 * unit<T>() * static_cast<double>(std::exp(expected)));
        ASSERT_NEAR(static_cast<double>(log_y[i]), static_cast<double>(expected),
                    8 * unit<T>() * (1 + static_cast<double>(-expected)));
      }
    }
  }
}

TYPED_TEST(LossTest, SoftmaxGradients) {
  using T = TypeParam;
  const std::int64_t rows = 37, n = 11;
  GuardedBuffer<T> x(Shape{rows, n}, random_values<T>(rows * n, 32, -4, 4)),
      dy(x.shape(), random_values<T>(rows * n, 33)), y(x.shape()), log_y(x.shape());
  cpu_backend().softmax->softmax(x.view(), y.view());
  cpu_backend().softmax->log_softmax(x.view(), log_y.view());
  const auto dx =
      both_writes<T>(x.shape(), [&](Grad out) { cpu_backend().softmax->softmax_backward(y.view(), dy.view(), out); });
  const auto log_dx = both_writes<T>(
      x.shape(), [&](Grad out) { cpu_backend().softmax->log_softmax_backward(log_y.view(), dy.view(), out); });
  Reals wide = widen(x), numeric(wide.size()), log_numeric(wide.size());
  const auto value = [&](std::int64_t r, bool logarithm) {
    Real sum = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      const Real l = log_softmax(&wide[static_cast<std::size_t>(r * n)], n, j);
      sum += static_cast<Real>(dy[r * n + j]) * (logarithm ? l : std::exp(l));
    }
    return sum;
  };
  const Real step = 1e-6L;
  for (std::int64_t i = 0; i < rows * n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Real start = wide[at];
    for (const bool logarithm : {false, true}) {
      wide[at] = start + step;
      const Real above = value(i / n, logarithm);
      wide[at] = start - step;
      const Real below = value(i / n, logarithm);
      wide[at] = start;
      (logarithm ? log_numeric : numeric)[at] = (above - below) / (2 * step);
    }
  }
  EXPECT_LT(norm_error(dx, numeric), sizeof(T) == 4 ? 1e-6 : 1e-10);
  EXPECT_LT(norm_error(log_dx, log_numeric), sizeof(T) == 4 ? 1e-6 : 1e-10);
}

TYPED_TEST(LossTest, CrossEntropyIsPyTorchs) {
  using T = TypeParam;
  const std::int64_t rows = 13, classes = 7;
  const Shape shape{rows, classes};
  std::vector<std::int32_t> labels;
  for (std::int32_t r = 0; r < rows; ++r) labels.push_back(r % 5 == 4 ? -100 : r * 3 % 7);
  GuardedBuffer<T> x(shape, random_values<T>(rows * classes, 34, -3, 3)),
      weight(Shape{classes}, random_values<T>(classes, 35, 0.2, 2)),
      probability(shape, random_values<T>(rows * classes, 36, 0, 0.3));
  GuardedBuffer<std::int32_t> label(Shape{rows}, labels);
  for (int trial = 0; trial < 24; ++trial) {
    Setting s;
    s.options.label_smoothing = trial % 2 == 0 ? 0 : 0.1;
    s.options.reduction = static_cast<Reduction>(trial / 2 % 3);
    s.weighted = trial / 6 % 2 == 1;
    s.probabilities = trial / 12 == 1;
    SCOPED_TRACE(testing::Message() << "trial " << trial);
    const bool none = s.options.reduction == Reduction::none;
    GuardedBuffer<T> loss(none ? Shape{rows} : Shape{1}), dx(shape), loss_only(loss.shape());
    GuardedBuffer<std::int32_t> num_correct(Shape{1}, {5});
    const View target = s.probabilities ? probability.view() : label.view();
    const ConstView weights = s.weighted ? ConstView(weight.view()) : ConstView();
    cpu_backend().loss->cross_entropy(s.options, x.view(), target, weights, loss.view(), dx.view(), num_correct.view());
    cpu_backend().loss->cross_entropy(s.options, x.view(), target, weights, loss_only.view(), View(), View());
    EXPECT_TRUE(same_bits(loss.values(), loss_only.values()));

    Reals wide = widen(x);
    const Reals w = s.weighted ? widen(weight) : Reals(static_cast<std::size_t>(classes), 1);
    const auto naive = [&] { return naive_cross_entropy(s, wide, classes, labels, widen(probability), w); };
    EXPECT_LT(norm_error(loss.values(), naive()), 8 * unit<T>());
    Reals numeric(wide.size());
    const Real step = 1e-6L;
    for (std::size_t i = 0; i < wide.size(); ++i) {
      const Real start = wide[i];
      const std::size_t row = none ? i / static_cast<std::size_t>(classes) : 0;
      wide[i] = start + step;
      const Real above = naive()[row];
      wide[i] = start - step;
      const Real below = naive()[row];
      wide[i] = start;
      numeric[i] = (above - below) / (2 * step);
    }
    EXPECT_LT(norm_error(dx.values(), numeric), sizeof(T) == 4 ? 1e-6 : 1e-10);

    std::int32_t expected = 5;
    for (std::int64_t r = 0; r < rows; ++r) {
      const T *const row = x.data() + r * classes, *const p = probability.data() + r * classes;
      const auto guess = std::max_element(row, row + classes) - row;
      expected +=
          guess == (s.probabilities ? std::max_element(p, p + classes) - p : labels[static_cast<std::size_t>(r)]);
    }
    EXPECT_EQ(num_correct[0], expected);
  }
}

TYPED_TEST(LossTest, CrossEntropyOfExtremeLogits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  CrossEntropy options;
  options.reduction = Reduction::none;
  for (const double big : {88.73, 1e4, 1e37}) {
    // Rows: the label's logit is far above the rest, far below, and one of two equal maxima.
    GuardedBuffer<T> x(Shape{3, 3}, {T(big), T(-big), T(0), T(-big), T(big), T(0), T(big), T(big), T(-big)});
    GuardedBuffer<std::int32_t> label(Shape{3}, {0, 0, 0});
    GuardedBuffer<T> loss(Shape{3}), dx(x.shape());
    cpu_backend().loss->cross_entropy(options, x.view(), label.view(), {}, loss.view(), dx.view(), {});
    EXPECT_NEAR(static_cast<double>(loss[0]), std::exp(-big), 4 * unit<T>());
    EXPECT_NEAR(static_cast<double>(loss[1]), 2 * static_cast<double>(T(big)), 4 * unit<T>() * 2 * big);
    EXPECT_NEAR(static_cast<double>(loss[2]), std::log(2.0), 4 * unit<T>());
    const std::vector<double> slopes{0, 0, 0, -1, 1, 0, -0.5, 0.5, 0};
    for (std::int64_t i = 0; i < 9; ++i)
      EXPECT_NEAR(static_cast<double>(dx[i]), slopes[static_cast<std::size_t>(i)], 4 * unit<T>());
  }
  // A class of probability 0 costs nothing if the target gives it no weight.
  GuardedBuffer<T> x(Shape{2, 3}, {T(1), -inf, T(1), -inf, T(0), T(2)});
  GuardedBuffer<std::int32_t> label(Shape{2}, {0, 2});
  GuardedBuffer<T> probability(Shape{2, 3}, {T(0.5), T(0), T(0.5), T(0), T(0.25), T(0.75)}), loss(Shape{2}),
      dx(x.shape());
  cpu_backend().loss->cross_entropy(options, x.view(), label.view(), {}, loss.view(), dx.view(), {});
  EXPECT_NEAR(static_cast<double>(loss[0]), std::log(2.0), 4 * unit<T>());
  EXPECT_NEAR(static_cast<double>(loss[1]), std::log(1 + std::exp(-2.0)), 4 * unit<T>());
  EXPECT_EQ(dx[1], 0);
  cpu_backend().loss->cross_entropy(options, x.view(), probability.view(), {}, loss.view(), dx.view(), {});
  EXPECT_NEAR(static_cast<double>(loss[0]), std::log(2.0), 4 * unit<T>());
  EXPECT_NEAR(static_cast<double>(loss[1]), 0.25 * 2 + std::log(1 + std::exp(-2.0)), 4 * unit<T>());
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_TRUE(std::isfinite(dx[i]));
  // A label of probability 0 costs infinity; NaN is never hidden.
  label[0] = 1;
  x[5] = std::numeric_limits<T>::quiet_NaN();
  cpu_backend().loss->cross_entropy(options, x.view(), label.view(), {}, loss.view(), dx.view(), {});
  EXPECT_EQ(loss[0], inf);
  EXPECT_TRUE(std::isnan(loss[1]));
  EXPECT_TRUE(std::isnan(dx[3]));
}

TYPED_TEST(LossTest, CrossEntropyRefusesToReadOutside) {
  using T = TypeParam;
  CrossEntropy options;
  options.reduction = Reduction::none;
  GuardedBuffer<T> x(Shape{4, 3}, random_values<T>(12, 37)), weight(Shape{3}, {T(1), T(2), T(3)}), loss(Shape{4}),
      dx(x.shape());
  GuardedBuffer<std::int32_t> label(Shape{4}, {3, -1, 2147483647, 1}), num_correct(Shape{1}, {0});
  cpu_backend().loss->cross_entropy(options, x.view(), label.view(), weight.view(), loss.view(), dx.view(),
                                    num_correct.view());
  for (int r = 0; r < 3; ++r) EXPECT_TRUE(std::isnan(loss[r])) << r;
  EXPECT_TRUE(std::isfinite(loss[3]));
  options.reduction = Reduction::mean;
  GuardedBuffer<T> mean(Shape{1});
  cpu_backend().loss->cross_entropy(options, x.view(), label.view(), weight.view(), mean.view(), {}, {});
  EXPECT_TRUE(std::isnan(mean[0]));
  // If all rows are ignored, the mean is NaN and the gradient is 0.
  label.fill(-100);
  cpu_backend().loss->cross_entropy(options, x.view(), label.view(), {}, mean.view(), dx.view(), {});
  EXPECT_TRUE(std::isnan(mean[0]));
  for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(dx[i], 0);
}

TYPED_TEST(LossTest, CrossEntropyWithAnyThreads) {
  using T = TypeParam;
  const std::int64_t rows = 5000, classes = 10;
  std::vector<std::int32_t> labels;
  for (std::int32_t r = 0; r < rows; ++r) labels.push_back(r % 10);
  GuardedBuffer<T> x(Shape{rows, classes}, random_values<T>(rows * classes, 38, -5, 5));
  GuardedBuffer<std::int32_t> label(Shape{rows}, labels);
  std::int32_t first_hits = -1;
  for_threads([&] {
    GuardedBuffer<T> loss(Shape{1}), dx(x.shape());
    GuardedBuffer<std::int32_t> num_correct(Shape{1}, {0});
    cpu_backend().loss->cross_entropy({}, x.view(), label.view(), {}, loss.view(), dx.view(), num_correct.view());
    if (first_hits < 0) first_hits = num_correct[0];
    EXPECT_EQ(num_correct[0], first_hits);
    auto all = dx.values();
    all.push_back(loss[0]);
    return all;
  });
}

TYPED_TEST(LossTest, MseAndBce) {
  using T = TypeParam;
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1025, 9000}) {
    GuardedBuffer<T> x(Shape{n}, random_values<T>(n, 39, -6, 6)), t(Shape{n}, random_values<T>(n, 40, 0, 1));
    for (const bool bce : {false, true}) {
      for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
        GuardedBuffer<T> loss(reduction == Reduction::none ? Shape{n} : Shape{1}), dx(Shape{n});
        const auto run = [&](View slopes) {
          if (bce) {
            cpu_backend().loss->bce_with_logits(reduction, x.view(), t.view(), loss.view(), slopes);
          } else {
            cpu_backend().loss->mse(reduction, x.view(), t.view(), loss.view(), slopes);
          }
        };
        run(View());
        const auto alone = loss.values();
        run(dx.view());
        EXPECT_TRUE(same_bits(alone, loss.values()));
        const Real divisor = reduction == Reduction::mean ? static_cast<Real>(n) : 1;
        Reals losses, slopes;
        Real sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const Real u = static_cast<Real>(x[i]), v = static_cast<Real>(t[i]);
          losses.push_back(bce ? -v * std::log(1 / (1 + std::exp(-u))) - (1 - v) * std::log(1 / (1 + std::exp(u)))
                               : (u - v) * (u - v));
          slopes.push_back((bce ? 1 / (1 + std::exp(-u)) - v : 2 * (u - v)) / divisor);
          sum += losses.back();
        }
        if (n == 0 && reduction == Reduction::mean) {
          EXPECT_TRUE(std::isnan(loss[0]));
          continue;
        }
        EXPECT_LT(norm_error(loss.values(), reduction == Reduction::none ? losses : Reals{sum / divisor}),
                  8 * unit<T>());
        EXPECT_LT(norm_error(dx.values(), slopes), 8 * unit<T>());
      }
    }
  }
}

TYPED_TEST(LossTest, BceOfExtremeLogits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for (const T big : {T(88.73), T(1e4), T(1e37), inf}) {
    GuardedBuffer<T> x(Shape{4}, {big, big, -big, -big}), t(Shape{4}, {T(1), T(0), T(1), T(0)}), loss(Shape{4}),
        dx(Shape{4});
    cpu_backend().loss->bce_with_logits(Reduction::none, x.view(), t.view(), loss.view(), dx.view());
    EXPECT_LT(loss[0], T(1e-37));
    EXPECT_EQ(loss[1], big);
    EXPECT_EQ(loss[2], big);
    EXPECT_LT(loss[3], T(1e-37));
    EXPECT_NEAR(static_cast<double>(dx[1]), 1, 4 * unit<T>());
    EXPECT_NEAR(static_cast<double>(dx[2]), -1, 4 * unit<T>());
    EXPECT_NEAR(static_cast<double>(dx[0]), 0, 4 * unit<T>());
    EXPECT_NEAR(static_cast<double>(dx[3]), 0, 4 * unit<T>());
  }
}

TYPED_TEST(LossTest, SoftmaxOfExtremeLogits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for (const T big : {T(88.73), T(1e4), T(1e37)}) {
    GuardedBuffer<T> x(Shape{1, 4}, {big, big, -big, -inf}), y(x.shape()), log_y(x.shape());
    cpu_backend().softmax->softmax(x.view(), y.view());
    cpu_backend().softmax->log_softmax(x.view(), log_y.view());
    EXPECT_NEAR(static_cast<double>(y[0]), 0.5, 4 * unit<T>());
    EXPECT_LT(y[2], T(1e-37));
    EXPECT_EQ(y[3], 0);
    EXPECT_NEAR(static_cast<double>(log_y[0]), -std::log(2.0), 4 * unit<T>());
    EXPECT_NEAR(static_cast<double>(log_y[2]), -2 * static_cast<double>(big) - std::log(2.0),
                8 * unit<T>() * static_cast<double>(big));
    EXPECT_EQ(log_y[3], -inf);
  }
}

}  // namespace
}  // namespace descent
