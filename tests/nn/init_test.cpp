// Initial weights: PyTorch's formulas, and the same numbers for the same seed and position in the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/philox.h"
#include "descent/nn.h"

namespace descent::nn {
namespace {

struct Moments {
  double mean = 0, std = 0, low = 0, high = 0;
};

Moments moments(const Tensor& tensor) {
  const std::vector<double> values = tensor.to_vector<double>();
  Moments m{0, 0, values[0], values[0]};
  for (const double v : values) {
    m.mean += v;
    m.low = std::min(m.low, v);
    m.high = std::max(m.high, v);
  }
  m.mean /= static_cast<double>(values.size());
  for (const double v : values) m.std += (v - m.mean) * (v - m.mean);
  m.std = std::sqrt(m.std / static_cast<double>(values.size()));
  return m;
}

// The moments are within five standard errors of a uniform distribution on [-bound, bound]; no value is outside it.
void expect_uniform(const Tensor& tensor, double bound) {
  const Moments m = moments(tensor);
  const double n = static_cast<double>(tensor.numel());
  EXPECT_GE(m.low, -bound);
  EXPECT_LE(m.high, bound);
  EXPECT_GT(m.high, bound * (1 - 20 / n));
  EXPECT_NEAR(m.mean, 0, 5 * bound / std::sqrt(3 * n));
  EXPECT_NEAR(m.std, bound / std::sqrt(3.0), 5 * bound / std::sqrt(3 * n));
}

void expect_normal(const Tensor& tensor, double mean, double std) {
  const Moments m = moments(tensor);
  const double error = 5 * std / std::sqrt(static_cast<double>(tensor.numel()));
  EXPECT_NEAR(m.mean, mean, error);
  EXPECT_NEAR(m.std, std, error);
  EXPECT_GT(m.high, mean + 3 * std);
}

TEST(Init, FansFollowTheChannelsLastLayout) {
  EXPECT_EQ(init::fans({7, 5}).in, 5);
  EXPECT_EQ(init::fans({7, 5}).out, 7);
  const init::Fans filter = init::fans({16, 5, 3, 4});  // [out, kh, kw, in]
  EXPECT_EQ(filter.in, 60);
  EXPECT_EQ(filter.out, 240);
  EXPECT_THROW(init::fans({3}), InvalidArgument);
}

TEST(Init, GainsArePyTorchs) {
  using init::Nonlinearity;
  EXPECT_EQ(init::gain(Nonlinearity::linear), 1);
  EXPECT_EQ(init::gain(Nonlinearity::sigmoid), 1);
  EXPECT_DOUBLE_EQ(init::gain(Nonlinearity::tanh), 5.0 / 3);
  EXPECT_DOUBLE_EQ(init::gain(Nonlinearity::relu), std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(init::gain(Nonlinearity::leaky_relu), std::sqrt(2 / (1 + 1e-4)));
  EXPECT_DOUBLE_EQ(init::gain(Nonlinearity::selu), 0.75);
}

TEST(Init, DistributionsHaveTheirBoundsAndMoments) {
  seed(5);
  Tensor w = Tensor::empty({300, 3, 3, 20});  // fan in 180, fan out 2700
  init::kaiming_uniform(w, std::sqrt(5.0));
  expect_uniform(w, 1 / std::sqrt(180.0));
  init::he_uniform(w);
  expect_uniform(w, std::sqrt(6 / 180.0));
  init::kaiming_normal(w, 0, init::FanMode::out, init::Nonlinearity::relu);
  expect_normal(w, 0, std::sqrt(2 / 2700.0));
  init::he_normal(w);
  expect_normal(w, 0, std::sqrt(2 / 180.0));
  init::xavier_uniform(w, 2);
  expect_uniform(w, 2 * std::sqrt(6 / 2880.0));
  init::xavier_normal(w);
  expect_normal(w, 0, std::sqrt(2 / 2880.0));
  init::normal(w, 3, 0.5);
  expect_normal(w, 3, 0.5);
  init::uniform(w, 0, 1);
  EXPECT_GE(moments(w).low, 0);
  EXPECT_LT(moments(w).high, 1);
  init::constant(w, 4);
  EXPECT_EQ(moments(w).low, 4);
  EXPECT_EQ(moments(w).high, 4);
  init::zeros(w);
  EXPECT_EQ(moments(w).high, 0);
}

TEST(Init, LayersStartAsInPyTorch) {
  seed(6);
  const Linear linear(400, 120);
  expect_uniform(linear.weight(), 1 / std::sqrt(400.0));
  expect_uniform(linear.bias(), 1 / std::sqrt(400.0));
  const Conv2d conv(8, 64, 3, {.groups = 2});
  expect_uniform(conv.weight(), 1 / std::sqrt(36.0));
  expect_uniform(conv.bias(), 1 / std::sqrt(36.0));
  const ConvTranspose2d transpose(64, 8, 3);  // PyTorch's fan-in of [64, 8, 3, 3] is 8 * 9
  expect_uniform(transpose.weight(), 1 / std::sqrt(72.0));
  expect_normal(Embedding(200, 50).weight(), 0, 1);
  const BatchNorm2d norm(3);
  EXPECT_EQ(norm.weight().to_vector<float>(), std::vector<float>(3, 1));
  EXPECT_EQ(norm.bias().to_vector<float>(), std::vector<float>(3, 0));
  EXPECT_EQ(norm.running_var().to_vector<float>(), std::vector<float>(3, 1));
}

TEST(Init, ElementIsAFunctionOfSeedStreamAndIndexAlone) {
  const init::SeedScope scope(42);
  Tensor first = Tensor::empty({5}), second = Tensor::empty({9});
  init::uniform(first);
  init::uniform(second);
  const std::vector<float> values = second.to_vector<float>();
  for (std::uint64_t i = 0; i < 9; ++i) {  // the second tensor drawn uses stream 0x10000001
    EXPECT_EQ(values[i], philox::uniform<float>(philox::word(42, 0x10000001u, 0, i))) << i;
  }
  Tensor wide = Tensor::empty({9}, DType::f64);
  const init::SeedScope again(42);
  init::uniform(first);
  init::uniform(wide);
  EXPECT_EQ(wide.to(DType::f32).to_vector<float>(), values);
}

TEST(Init, SameSeedSameModelWhateverWasMadeBefore) {
  const Model a = build_model(preset("lenet5"), 11);
  seed(99);
  const Linear elsewhere(10, 10);
  const Model b = build_model(preset("lenet5"), 11);
  const Model c = build_model(preset("lenet5"), 12);
  const auto pa = a.module->parameters(), pb = b.module->parameters(), pc = c.module->parameters();
  ASSERT_EQ(pa.size(), 10u);
  for (std::size_t i = 0; i < pa.size(); ++i) {
    EXPECT_EQ(pa[i].to_vector<float>(), pb[i].to_vector<float>()) << i;
    EXPECT_NE(pa[i].to_vector<float>(), pc[i].to_vector<float>()) << i;
  }
  // The scope inside build_model does not disturb the thread's own sequence.
  const Linear next(10, 10);
  seed(99);
  const Linear replay(10, 10), replay_next(10, 10);
  EXPECT_EQ(replay_next.weight().to_vector<float>(), next.weight().to_vector<float>());
}

TEST(Init, ResetParametersGivesTheWeightsOfANewModel) {
  const Model fresh = build_model(preset("cnn-bn"), 3);
  const Model used = build_model(preset("cnn-bn"), 4);
  for (auto& [name, tensor] : used.module->named_buffers()) tensor.fill(7);
  used.module->reset_parameters(3);
  const auto expected = fresh.module->state_dict(), found = used.module->state_dict();
  ASSERT_EQ(expected.size(), found.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(expected[i].tensor.to_vector<double>(), found[i].tensor.to_vector<double>()) << expected[i].name;
  }
}

TEST(Init, RefusesIntegers) {
  Tensor index = Tensor::zeros({2, 2}, DType::i32);
  EXPECT_THROW(init::uniform(index), InvalidArgument);
}

}  // namespace
}  // namespace descent::nn
