// Neighbours that Sequential fuses give the same bits as one after another: outputs, gradients and running statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "descent/autograd.h"
#include "descent/nn.h"

namespace descent::nn {
namespace {

Tensor random(const Shape& shape, std::uint32_t stream = 1) { return Generator(9, stream).normal(shape); }

struct Results {
  std::vector<float> output;
  std::vector<std::vector<float>> gradients, buffers;
};

Results run(Sequential& model, const Tensor& x, bool training) {
  model.train(training);
  Results r;
  if (!training) {
    const NoGrad guard;
    r.output = model(x).to_vector<float>();
    return r;
  }
  const Tensor y = model(x);
  y.backward(random(y.shape(), 77));
  r.output = y.to_vector<float>();
  for (const Tensor& p : model.parameters()) r.gradients.push_back(p.grad().to_vector<float>());
  for (const auto& [name, tensor] : model.named_buffers()) r.buffers.push_back(tensor.to_vector<float>());
  return r;
}

void expect_same_bits(const std::function<void(Sequential&)>& build, const Shape& input) {
  for (const bool training : {true, false}) {
    Sequential fused, plain;
    seed(21);
    build(fused);
    seed(21);
    build(plain);
    plain.set_fusion(false);
    const Tensor x = random(input);
    const Results a = run(fused, x, training), b = run(plain, x, training);
    EXPECT_EQ(a.output, b.output);
    EXPECT_EQ(a.gradients, b.gradients);
    EXPECT_EQ(a.buffers, b.buffers);
    EXPECT_TRUE(std::any_of(a.output.begin(), a.output.end(), [](float v) { return v > 0; }));
  }
}

TEST(Fusion, LinearAndReluGiveTheSameBits) {
  expect_same_bits([](Sequential& m) { m.add<Linear>(40, 33).add<ReLU>().add<Linear>(33, 10).add<ReLU>(); }, {17, 40});
}

TEST(Fusion, ConvolutionReluAndPoolGiveTheSameBits) {
  expect_same_bits(
      [](Sequential& m) {
        m.add<Conv2d>(1, 8, 3, Conv2dArgs{.padding = 1}).add<ReLU>().add<MaxPool2d>(2);
        m.add<Conv2d>(8, 16, 5).add<ReLU>().add<MaxPool2d>(2);
        m.add<Conv2d>(16, 4, 2, Conv2dArgs{.bias = false}).add<ReLU>().add<MaxPool2d>(3, 1);
      },
      {5, 23, 21, 1});
}

TEST(Fusion, BatchNormReluAndPoolGiveTheSameBits) {
  expect_same_bits(
      [](Sequential& m) {
        m.add<Conv2d>(3, 8, 3).add<BatchNorm2d>(8).add<ReLU>().add<MaxPool2d>(2);
        m.add<BatchNorm2d>(8, 1e-3, 0.2, false).add<ReLU>().add<Flatten>();
        m.add<Linear>(8 * 20, 12).add<BatchNorm1d>(12).add<ReLU>().add<Linear>(12, 3);
      },
      {6, 13, 10, 3});
}

TEST(Fusion, ANestedSequentialAndALaterLayerArePlannedAnew) {
  Sequential model;
  model.add<Linear>(3, 4);
  const Tensor x = random({2, 3});
  const Tensor before = model(x);
  model.add<ReLU>();
  EXPECT_EQ(model(x).to_vector<float>(), relu(before).to_vector<float>());
}

}  // namespace
}  // namespace descent::nn
