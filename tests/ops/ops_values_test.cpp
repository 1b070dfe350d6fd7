// Ops against values worked out by hand or known from NumPy and PyTorch.
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
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor tensor(const Values& values, const Shape& shape) { return Tensor::from(values, shape); }
Tensor tensor(const Values& values) { return tensor(values, {static_cast<std::int64_t>(values.size())}); }
Tensor counting(const Shape& shape) {
  Values values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return tensor(values, shape);
}
Values values(const Tensor& t) { return t.to_vector<double>(); }

void expect_near(const Tensor& actual, const Values& expected, double tolerance = 1e-12) {
  const Values found = values(actual);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << "at " << i;
}

TEST(Elementwise, Arithmetic) {
  const Tensor a = tensor({1, 2, 3, 4}, {2, 2});
  const Tensor row = tensor({10, 20});
  EXPECT_EQ(values(a + row), (Values{11, 22, 13, 24}));
  EXPECT_EQ(values(row - a), (Values{9, 18, 7, 16}));
  EXPECT_EQ(values(a * a), (Values{1, 4, 9, 16}));
  EXPECT_EQ(values(row / a), (Values{10, 10, 10.0 / 3, 5}));
  EXPECT_EQ(values(a + 1.0), (Values{2, 3, 4, 5}));
  EXPECT_EQ(values(a - 1.0), (Values{0, 1, 2, 3}));
  EXPECT_EQ(values(a / 3.0), (Values{1.0 / 3, 2.0 / 3, 1, 4.0 / 3}));
  EXPECT_EQ(values(-a), (Values{-1, -2, -3, -4}));
  EXPECT_EQ((a.reshape({2, 1, 2}) + a).shape(), (Shape{2, 2, 2}));
}

TEST(Elementwise, Functions) {
  const Tensor x = tensor({0.25, 1, 4});
  expect_near(exp(x), {std::exp(0.25), std::exp(1.0), std::exp(4.0)});
  expect_near(log(x), {std::log(0.25), 0, std::log(4.0)});
  EXPECT_EQ(values(sqrt(x)), (Values{0.5, 1, 2}));
  EXPECT_EQ(values(square(x)), (Values{0.0625, 1, 16}));
  EXPECT_EQ(values(reciprocal(x)), (Values{4, 1, 0.25}));
  expect_near(pow(x, 1.5), {0.125, 1, 8});
  EXPECT_EQ(values(abs(tensor({-2, 0, 3}))), (Values{2, 0, 3}));
  EXPECT_EQ(values(clamp(tensor({-2, 0.5, 3}), -1, 1)), (Values{-1, 0.5, 1}));
}

TEST(Elementwise, Activations) {
  const Tensor x = tensor({-2, 0, 3});
  EXPECT_EQ(values(relu(x)), (Values{0, 0, 3}));
  expect_near(leaky_relu(x), {-0.02, 0, 3});
  expect_near(sigmoid(x), {0.11920292202211755, 0.5, 0.9525741268224334});
  expect_near(tanh(x), {std::tanh(-2.0), 0, std::tanh(3.0)});
  expect_near(gelu(x), {-0.04550026389635842, 0, 2.99595030590511});
  expect_near(gelu(x, Gelu::tanh), {-0.04540230591222, 0, 2.99636260791823}, 1e-11);
  expect_near(silu(x), {-0.2384058440442351, 0, 2.8577223804673});
  EXPECT_TRUE(std::isnan(relu(tensor({kNan})).item()));
  EXPECT_EQ(values(sigmoid(tensor({-1e4, 1e4}))), (Values{0, 1}));
}

TEST(Elementwise, GradientsAtKinks) {
  Tensor x = tensor({-1, 0, 1}).set_requires_grad(true);
  const auto gradient = [&](const Tensor& y) {
    x.zero_grad();
    sum(y).backward();
    return values(x.grad());
  };
  EXPECT_EQ(gradient(relu(x)), (Values{0, 0, 1}));
  EXPECT_EQ(gradient(abs(x)), (Values{-1, 0, 1}));
  EXPECT_EQ(gradient(clamp(x, -1, 0)), (Values{0, 0, 0}));
  EXPECT_EQ(gradient(clamp(x, -1.5, 0.5)), (Values{1, 1, 0}));
}

TEST(Reduce, SumsMeansAndMaxima) {
  const Tensor x = counting({2, 3, 2});
  EXPECT_EQ(sum(x).item(), 66);
  EXPECT_EQ(mean(x).item(), 5.5);
  EXPECT_EQ(max(x).item(), 11);
  EXPECT_EQ(sum(x).rank(), 0);
  EXPECT_EQ(values(sum(x, 1)), (Values{6, 9, 24, 27}));
  EXPECT_EQ(sum(x, 1).shape(), (Shape{2, 2}));
  EXPECT_EQ(sum(x, 1, true).shape(), (Shape{2, 1, 2}));
  EXPECT_EQ(values(mean(x, -1)), (Values{0.5, 2.5, 4.5, 6.5, 8.5, 10.5}));
  EXPECT_EQ(values(max(x, 0)), (Values{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(argmax(tensor({1, 3, 3, 5, 2, 5}, {2, 3})).to_vector<std::int32_t>(), (Ints{1, 0}));
  EXPECT_EQ(values(sum(Tensor::empty({2, 0}, DType::f64), 1)), (Values{0, 0}));
  EXPECT_TRUE(std::isnan(max(tensor({1, kNan, 2})).item()));
  Tensor ties = tensor({2, 5, 5}).set_requires_grad(true);
  max(ties).backward();
  EXPECT_EQ(values(ties.grad()), (Values{0, 1, 0}));
}

TEST(Reduce, IsExactOverManyElements) {
  const Tensor x = Tensor::full({10000000}, 0.1);
  EXPECT_NEAR(mean(x).item(), 0.1F, 1e-7);
  EXPECT_NEAR(sum(x).item() / (1e7 * static_cast<double>(0.1F)), 1, 1e-6);
}

TEST(Shapes, SliceAndConcat) {
  const Tensor x = counting({2, 3, 2});
  EXPECT_EQ(values(slice(x, 1, 1, 3)), (Values{2, 3, 4, 5, 8, 9, 10, 11}));
  EXPECT_EQ(values(slice(x, -1, 1, 2)), (Values{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(slice(x, 0, 1, 2).data<double>(), x.data<double>() + 6);
  EXPECT_EQ(values(concat({slice(x, 1, 0, 1), slice(x, 1, 1, 3)}, 1)), values(x));
  EXPECT_EQ(values(concat({tensor({1, 2}), tensor({3})})), (Values{1, 2, 3}));
  const Tensor labels = concat({Tensor::from(Ints{1}, {1}), Tensor::from(Ints{2, 3}, {2})});
  EXPECT_EQ(labels.to_vector<std::int32_t>(), (Ints{1, 2, 3}));
  EXPECT_EQ(flatten(x).shape(), (Shape{2, 6}));
  EXPECT_EQ(flatten(x, 0).shape(), (Shape{12}));
}

TEST(MatrixProducts, AreThoseOfTheDefinition) {
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor b = tensor({1, 0, 2, 1, 0, 3}, {3, 2});
  EXPECT_EQ(values(matmul(a, b)), (Values{5, 11, 14, 23}));
  EXPECT_EQ(values(matmul(a, a, true)), (Values{17, 22, 27, 22, 29, 36, 27, 36, 45}));
  EXPECT_EQ(values(matmul(a, a, false, true)), (Values{14, 32, 32, 77}));
  EXPECT_EQ(values(matmul(b, a, true, true)), (Values{5, 14, 11, 23}));
  EXPECT_EQ(matmul(counting({2, 4, 3}), counting({3, 5})).shape(), (Shape{2, 4, 5}));
  EXPECT_EQ(values(matmul(counting({2, 1, 2}), counting({2, 2, 1}))), (Values{1, 13}));
  EXPECT_EQ(values(matmul(Tensor::empty({2, 0}, DType::f64), Tensor::empty({0, 1}, DType::f64))), (Values{0, 0}));
  const Tensor w = tensor({1, -1, 0, 2, 0, -4}, {2, 3});
  EXPECT_EQ(values(linear(a, w)), (Values{-1, -10, -1, -16}));
  EXPECT_EQ(values(linear(a, w, tensor({0.5, 12}))), (Values{-0.5, 2, -0.5, -4}));
  EXPECT_EQ(values(linear(a, w, tensor({0.5, 12}), Activation::relu)), (Values{0, 2, 0, 0}));
}

TEST(Conv, Correlates) {
  const Tensor x = counting({1, 3, 3, 1});
  const Tensor w = tensor({1, 2, 3, 4}, {1, 2, 2, 1});
  EXPECT_EQ(values(conv2d(x, w)), (Values{27, 37, 57, 67}));
  EXPECT_EQ(values(conv2d(x, w, tensor({1}))), (Values{28, 38, 58, 68}));
  const Conv2dFuncOptions padded{.stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1};
  EXPECT_EQ(values(conv2d(x, w, {}, padded)), (Values{0, 11, 30, 67}));
  EXPECT_EQ(values(conv2d(x, w, {}, {.dilation_h = 2, .dilation_w = 2})), (Values{0 * 1 + 2 * 2 + 6 * 3 + 8 * 4}));
  EXPECT_EQ(values(conv2d(x, -w, tensor({30}), {}, Activation::relu)), (Values{3, 0, 0, 0}));
}

TEST(Conv, TransposedSpreads) {
  const Tensor x = tensor({1, 2}, {1, 1, 2, 1});
  const Tensor w = tensor({1, 2, 3, 4}, {1, 2, 2, 1});
  EXPECT_EQ(values(conv_transpose2d(x, w)), (Values{1, 4, 4, 3, 10, 8}));
  EXPECT_EQ(values(conv_transpose2d(x, w, tensor({10}))), (Values{11, 14, 14, 13, 20, 18}));
  const Conv2dFuncOptions strided{.stride_h = 2, .stride_w = 2};
  const Tensor y = conv_transpose2d(x, w, {}, strided, 1, 0);
  EXPECT_EQ(y.shape(), (Shape{1, 3, 4, 1}));
  EXPECT_EQ(values(y), (Values{1, 2, 2, 4, 3, 4, 6, 8, 0, 0, 0, 0}));
}

TEST(Conv, FusedWithReluAndPoolGivesTheSameBits) {
  Generator random(1);
  for (const DType dtype : {DType::f32, DType::f64}) {
    Tensor x = random.normal({4, 14, 13, 3}, 0, 1, dtype).set_requires_grad(true);
    Tensor w = random.normal({16, 3, 3, 3}, 0, 0.3, dtype).set_requires_grad(true);
    Tensor b = random.normal({16}, 0, 1, dtype).set_requires_grad(true);
    const Conv2dFuncOptions options{.padding_h = 1, .padding_w = 1};
    const Tensor apart = max_pool2d(relu(conv2d(x, w, b, options)));
    const Tensor fused = conv2d(x, w, b, options, Epilogue(Activation::relu, true));
    EXPECT_EQ(values(fused), values(apart));
    EXPECT_EQ(values(max_pool2d(conv2d(x, w, b, options, Activation::relu))), values(apart));
    const Tensor dy = random.normal(fused.shape(), 0, 1, dtype);
    backward(apart, dy);
    const std::vector<Values> expected{values(x.grad()), values(w.grad()), values(b.grad())};
    for (Tensor* t : {&x, &w, &b}) t->zero_grad();
    backward(fused, dy);
    const double tolerance = dtype == DType::f32 ? 2e-4 : 1e-12;
    expect_near(x.grad(), expected[0], tolerance);
    expect_near(w.grad(), expected[1], tolerance);
    expect_near(b.grad(), expected[2], tolerance);
  }
}

TEST(Pool, MaximumAndAverage) {
  const Tensor x = counting({1, 4, 4, 1});
  EXPECT_EQ(values(max_pool2d(x)), (Values{5, 7, 13, 15}));
  EXPECT_EQ(values(avg_pool2d(x)), (Values{2.5, 4.5, 10.5, 12.5}));
  EXPECT_EQ(values(global_avg_pool2d(x)), (Values{7.5}));
  Pool2dOptions padded{.kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 3, .padding_h = 1, .padding_w = 1};
  EXPECT_EQ(values(avg_pool2d(x, padded)), (Values{0, 5.0 / 4, 20.0 / 4, 50.0 / 4}));
  padded.count_include_pad = false;
  EXPECT_EQ(values(avg_pool2d(x, padded)), (Values{0, 2.5, 10, 12.5}));
  EXPECT_EQ(values(max_pool2d(-x - 1.0, padded)), (Values{-1, -3, -9, -11}));
  Tensor ties = Tensor::ones({1, 2, 2, 1}, DType::f64).set_requires_grad(true);
  max_pool2d(ties).backward();
  EXPECT_EQ(values(ties.grad()), (Values{1, 0, 0, 0}));
  EXPECT_TRUE(std::isnan(max_pool2d(tensor({1, kNan, 3, 2}, {1, 2, 2, 1})).item()));
}

TEST(Norm, BatchNormKeepsRunningStatistics) {
  const Tensor x = tensor({1, 10, 3, 30}, {2, 2});
  Tensor mean = Tensor::zeros({2}, DType::f64);
  Tensor var = Tensor::ones({2}, DType::f64);
  const Tensor gamma = tensor({2, 1});
  const Tensor beta = tensor({0, 5});
  const double first = 1 / std::sqrt(1 + 1e-5);
  const double second = 10 / std::sqrt(100 + 1e-5);
  expect_near(batch_norm(x, gamma, beta, mean, var), {-2 * first, 5 - second, 2 * first, 5 + second});
  expect_near(mean, {0.2, 2});
  expect_near(var, {0.9 + 0.1 * 2, 0.9 + 0.1 * 200});
  expect_near(batch_norm(x, {}, {}, mean, var, {.training = false}),
              {0.8 / std::sqrt(1.1 + 1e-5), 8 / std::sqrt(20.9 + 1e-5), 2.8 / std::sqrt(1.1 + 1e-5),
               28 / std::sqrt(20.9 + 1e-5)});
  expect_near(batch_norm(x, gamma, beta, {}, {}, {}, Activation::relu), {0, 5 - second, 2 * first, 5 + second});
}

TEST(Norm, FusedWithReluAndPoolGivesTheSameBits) {
  Generator random(2);
  Tensor x = random.normal({3, 6, 7, 5}, 1, 2).set_requires_grad(true);
  const Tensor gamma = random.normal({5}, 1, 0.2);
  const Tensor beta = random.normal({5});
  Tensor mean = Tensor::zeros({5});
  Tensor var = Tensor::ones({5});
  Tensor mean2 = mean.clone();
  Tensor var2 = var.clone();
  const Tensor apart = max_pool2d(relu(batch_norm(x, gamma, beta, mean, var)));
  const Tensor fused = batch_norm(x, gamma, beta, mean2, var2, {}, Epilogue(Activation::relu, true));
  EXPECT_EQ(values(fused), values(apart));
  EXPECT_EQ(values(mean2), values(mean));
  EXPECT_EQ(values(var2), values(var));
}

TEST(Norm, LayerNorm) {
  const Tensor x = tensor({1, 3, -2, 2}, {2, 2});
  const double a = 1 / std::sqrt(1 + 1e-5);
  const double b = 2 / std::sqrt(4 + 1e-5);
  expect_near(layer_norm(x, {}, {}), {-a, a, -b, b});
  expect_near(layer_norm(x, tensor({2, 3}), tensor({1, -1})), {1 - 2 * a, 3 * a - 1, 1 - 2 * b, 3 * b - 1});
}

TEST(Dropout, ScalesWhatItKeeps) {
  Generator generator(1);
  Tensor x = Tensor::ones({100000}).set_requires_grad(true);
  const Tensor y = dropout(x, 0.25, generator);
  EXPECT_EQ(generator.counter().item(), 1);
  std::int64_t kept = 0;
  for (const float v : y.to_vector<float>()) {
    EXPECT_TRUE(v == 0 || v == 1 / 0.75F) << v;
    kept += v != 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(kept), 75000, 500);
  EXPECT_NE(values(dropout(x, 0.25, generator)), values(y));
  sum(y).backward();  // the generator has advanced since: backward must use the forward's mask
  EXPECT_EQ(values(x.grad()), values(y));
}

TEST(Dropout, AtItsEnds) {
  Generator generator(1);
  const Tensor x = tensor({1, kInf, kNan});
  EXPECT_EQ(dropout(x, 0, generator).data<double>(), x.data<double>());
  EXPECT_EQ(values(dropout(x, 1, generator)), (Values{0, 0, 0}));
}

TEST(Index, GathersRows) {
  const Tensor x = counting({3, 2});
  const Tensor index = Tensor::from(Ints{2, 0, 2, 1}, {2, 2});
  EXPECT_EQ(values(embedding(x, index)), (Values{4, 5, 0, 1, 4, 5, 2, 3}));
  EXPECT_EQ(embedding(x, index).shape(), (Shape{2, 2, 2}));
  const Tensor bytes = Tensor::from(std::vector<std::uint8_t>{7, 8, 9}, {3});
  EXPECT_EQ(index_select(bytes, Tensor::from(Ints{1, 1, 2}, {3})).to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{8, 8, 9}));
  EXPECT_EQ(values(one_hot(Tensor::from(Ints{2, 0}, {2}), 3)), (Values{0, 0, 1, 1, 0, 0}));
  Tensor w = Tensor::ones({3, 1}, DType::f64).set_requires_grad(true);
  sum(embedding(w, index)).backward();
  EXPECT_EQ(values(w.grad()), (Values{1, 1, 2}));
}

}  // namespace
}  // namespace descent
