// Softmax and the losses against worked-out values, at extremes of the number range, and their bookkeeping.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "descent/autograd.h"
#include "descent/ops.h"

namespace descent {
namespace {

using Values = std::vector<double>;
using Ints = std::vector<std::int32_t>;

constexpr double kInf = std::numeric_limits<double>::infinity();

Values values(const Tensor& t) { return t.to_vector<double>(); }
Tensor labels(const Ints& values) { return Tensor::from(values, {static_cast<std::int64_t>(values.size())}); }

void expect_near(const Tensor& actual, const Values& expected, double tolerance = 1e-12) {
  const Values found = values(actual);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << "at " << i;
}

const Tensor& logits() {
  static const Tensor t = Tensor::from(Values{1, 2, 3, 0, 0, 0, -1, 4, 1}, {3, 3});
  return t;
}

// log(sum(exp(row)))
double lse(double a, double b, double c) { return std::log(std::exp(a) + std::exp(b) + std::exp(c)); }

TEST(Softmax, IsNormalized) {
  expect_near(softmax(logits().narrow(0, 0, 2)),
              {0.09003057317038046, 0.24472847105479764, 0.6652409557748218, 1.0 / 3, 1.0 / 3, 1.0 / 3});
  expect_near(log_softmax(logits().narrow(0, 0, 1)), {-2.4076059644443806, -1.4076059644443806, -0.4076059644443806});
}

TEST(Softmax, IsFiniteForExtremeLogits) {
  for (const double big : {88.73, 1e4, 1e37}) {
    const Tensor x = Tensor::from(
        std::vector<float>{static_cast<float>(big), 0, static_cast<float>(-big), static_cast<float>(big)}, {1, 4});
    expect_near(softmax(x), {0.5, 0, 0, 0.5}, 1e-6);
    expect_near(cross_entropy(x, labels({3})), {std::log(2.0)}, 1e-6);
  }
  const Tensor masked = Tensor::from(Values{1, -kInf, 1}, {1, 3});
  expect_near(softmax(masked), {0.5, 0, 0.5});
  EXPECT_EQ(values(log_softmax(masked))[1], -kInf);
}

TEST(CrossEntropy, ReducesAsPyTorch) {
  const Tensor target = labels({2, 0, 1});
  const double a = lse(1, 2, 3) - 3;
  const double b = std::log(3.0);
  const double c = lse(-1, 4, 1) - 4;
  CrossEntropyOptions options;
  expect_near(cross_entropy(logits(), target), {(a + b + c) / 3});
  options.reduction = Reduction::sum;
  expect_near(cross_entropy(logits(), target, options), {a + b + c});
  options.reduction = Reduction::none;
  expect_near(cross_entropy(logits(), target, options), {a, b, c});
  EXPECT_EQ(cross_entropy(logits(), target, options).shape(), (Shape{3}));
  options.reduction = Reduction::mean;
  options.class_weights = Tensor::from(Values{0.5, 1, 2}, {3});
  expect_near(cross_entropy(logits(), target, options), {(2 * a + 0.5 * b + 1 * c) / 3.5});
  options.ignore_index = 1;
  expect_near(cross_entropy(logits(), target, options), {(2 * a + 0.5 * b) / 2.5});
}

TEST(CrossEntropy, SmoothsLabels) {
  CrossEntropyOptions options;
  options.label_smoothing = 0.3;
  const double l = lse(1, 2, 3);
  expect_near(cross_entropy(logits().narrow(0, 0, 1), labels({2}), options), {0.7 * (l - 3) + 0.1 * (3 * l - 6)});
  const Tensor same = Tensor::from(Values{0.1, 0.1, 0.8}, {1, 3});
  expect_near(cross_entropy(logits().narrow(0, 0, 1), same), {0.1 * (l - 1) + 0.1 * (l - 2) + 0.8 * (l - 3)});
}

TEST(CrossEntropy, CountsHits) {
  CrossEntropyOptions options;
  options.num_correct = Tensor::zeros({1}, DType::i32);
  cross_entropy(logits(), labels({2, 1, 1}), options);  // the first of equal maxima counts
  EXPECT_EQ(options.num_correct.item(), 2);
  cross_entropy(logits(), labels({2, 0, 1}), options);
  EXPECT_EQ(options.num_correct.item(), 5);
}

TEST(CrossEntropy, GradientIsTheSameHoweverItIsScaled) {
  Tensor x = logits().clone().set_requires_grad(true);
  const Tensor target = labels({2, 0, 1});
  cross_entropy(x, target).backward();  // a leaf
  const Values leaf = values(x.grad());
  x.zero_grad();
  cross_entropy(x * 1.0, target).backward();  // the saved gradient is passed on without a copy
  EXPECT_EQ(values(x.grad()), leaf);
  x.zero_grad();
  (cross_entropy(x * 1.0, target) * 2.0).backward();
  for (std::size_t i = 0; i < leaf.size(); ++i) EXPECT_DOUBLE_EQ(values(x.grad())[i], 2 * leaf[i]);
  x.zero_grad();
  const Tensor shared = x * 1.0;  // two losses on one tensor: the second gradient is added
  (cross_entropy(shared, target) + cross_entropy(shared, target)).backward();
  for (std::size_t i = 0; i < leaf.size(); ++i) EXPECT_DOUBLE_EQ(values(x.grad())[i], 2 * leaf[i]);
  expect_near(softmax(logits()) - one_hot(target, 3, DType::f64), [&] {
    Values scaled = leaf;
    for (double& v : scaled) v *= 3;
    return scaled;
  }());
}

TEST(Losses, MeanSquares) {
  Tensor x = Tensor::from(Values{1, 2, 4}, {3}).set_requires_grad(true);
  Tensor target = Tensor::from(Values{0, 2, 6}, {3}).set_requires_grad(true);
  EXPECT_DOUBLE_EQ(mse_loss(x, target).item(), 5.0 / 3);
  EXPECT_EQ(mse_loss(x, target, Reduction::sum).item(), 5);
  EXPECT_EQ(values(mse_loss(x, target, Reduction::none)), (Values{1, 0, 4}));
  mse_loss(x, target, Reduction::sum).backward();
  EXPECT_EQ(values(x.grad()), (Values{2, 0, -4}));
  EXPECT_EQ(values(target.grad()), (Values{-2, 0, 4}));
}

TEST(Losses, BinaryCrossEntropy) {
  const Tensor x = Tensor::from(Values{0, 2, -1000, 1000}, {4});
  const Tensor target = Tensor::from(Values{1, 0.25, 0, 0}, {4});
  expect_near(bce_with_logits(x, target, Reduction::none),
              {std::log(2.0), 2 - 0.5 + std::log1p(std::exp(-2.0)), 0, 1000});
  expect_near(bce_with_logits(x, target), {(std::log(2.0) + 1.5 + std::log1p(std::exp(-2.0)) + 1000) / 4}, 1e-10);
}

}  // namespace
}  // namespace descent
