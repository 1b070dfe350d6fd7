// Adjacent modules that Sequential fuses give the same bits as in sequence: outputs, running statistics and gradients.
// Only gradients through a fused pool sum the same terms in another order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "descent/autograd.h"
#include "descent/nn.h"

namespace descent::nn {
namespace {

Tensor random(const Shape& shape, std::uint32_t stream = 1) { return Generator(9, stream).normal(shape); }

struct Results {
  std::vector<double> output;
  std::vector<std::vector<double>> gradients, buffers;
};

Results run(Sequential& model, const Tensor& x, bool training) {
  model.train(training);
  Results r;
  if (!training) {
    const NoGradGuard guard;
    r.output = model(x).to_vector<double>();
    return r;
  }
  const Tensor y = model(x);
  y.backward(random(y.shape(), 77).to(y.dtype()));
  r.output = y.to_vector<double>();
  for (const Tensor& p : model.parameters()) r.gradients.push_back(p.grad().to_vector<double>());
  for (const auto& [name, tensor] : model.named_buffers()) r.buffers.push_back(tensor.to_vector<double>());
  return r;
}

// |a - b| / |b| over all elements of all gradients.
double difference(const Results& a, const Results& b) {
  double squares = 0, reference = 0;
  for (std::size_t p = 0; p < b.gradients.size(); ++p) {
    for (std::size_t i = 0; i < b.gradients[p].size(); ++i) {
      squares += std::pow(a.gradients[p][i] - b.gradients[p][i], 2);
      reference += std::pow(b.gradients[p][i], 2);
    }
  }
  return std::sqrt(squares / reference);
}

// Tolerance for that difference in order: a few units in the last place, over the whole tensors.
double rounding(DType dtype) { return dtype == DType::f32 ? 1e-6 : 4e-15; }

void expect_same_bits(const std::function<void(Sequential&)>& build, const Shape& input, DType dtype,
                      double gradients = 0) {
  for (const bool training : {true, false}) {
    Sequential fused, plain;
    seed(21);
    build(fused);
    seed(21);
    build(plain);
    plain.set_fusion(false);
    fused.to(dtype);
    plain.to(dtype);
    const Tensor x = random(input).to(dtype);
    const Results a = run(fused, x, training), b = run(plain, x, training);
    EXPECT_EQ(a.output, b.output);
    ASSERT_EQ(a.gradients.size(), b.gradients.size());
    if (training) {
      EXPECT_LE(difference(a, b), gradients);
    }
    EXPECT_EQ(a.buffers, b.buffers);
    EXPECT_TRUE(std::any_of(a.output.begin(), a.output.end(), [](double v) { return v > 0; }));
  }
}

TEST(Fusion, LinearAndReluGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    expect_same_bits([](Sequential& m) { m.add<Linear>(40, 33).add<ReLU>().add<Linear>(33, 10).add<ReLU>(); }, {17, 40},
                     dtype);
  }
}

TEST(Fusion, LinearAndApproximatedGeluGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    expect_same_bits(
        [](Sequential& m) {
          m.add<Linear>(40, 33).add<GELU>(Gelu::tanh).add<Linear>(33, 10).add<GELU>();
          m.add<Linear>(10, 8).add<ReLU>().add<GELU>(Gelu::tanh).add<Linear>(8, 16);
        },
        {17, 40}, dtype);
  }
}

TEST(Fusion, ConvolutionReluAndPoolGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    expect_same_bits(
        [](Sequential& m) {
          m.add<Conv2d>(1, 8, 3, Conv2dOptions{.padding = 1}).add<ReLU>().add<MaxPool2d>(2);
          m.add<Conv2d>(8, 16, 5).add<ReLU>().add<MaxPool2d>(2);
          m.add<Conv2d>(16, 4, 2, Conv2dOptions{.bias = false}).add<ReLU>().add<MaxPool2d>(3, 1);
        },
        {5, 27, 25, 1}, dtype, rounding(dtype));
  }
}

TEST(Fusion, BatchNormReluAndPoolGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    expect_same_bits(
        [](Sequential& m) {
          m.add<Conv2d>(3, 8, 3).add<BatchNorm2d>(8).add<ReLU>().add<MaxPool2d>(2);
          m.add<BatchNorm2d>(8, 1e-3, 0.2, false).add<ReLU>().add<Flatten>();
          m.add<Linear>(8 * 20, 12).add<BatchNorm1d>(12).add<ReLU>().add<Linear>(12, 3);
        },
        {6, 13, 10, 3}, dtype, rounding(dtype));
  }
}

TEST(Fusion, ANestedSequentialAndALaterLayerArePlannedAnew) {
  Sequential model;
  model.add<Linear>(3, 4);
  const Tensor x = random({2, 3});
  const Tensor before = model(x);
  model.add<ReLU>();
  EXPECT_EQ(model(x).to_vector<double>(), relu(before).to_vector<double>());
}

class Halved : public Linear {
 public:
  using Linear::Linear;
  Tensor forward(const Tensor& x) override { return Linear::forward(x) * 0.5; }
};

class Doubled : public ReLU {
 public:
  Tensor forward(const Tensor& x) override { return ReLU::forward(x) * 2.0; }
};

TEST(Fusion, ADerivedLayerKeepsItsOwnForward) {
  const Tensor x = random({2, 3});
  Sequential halved;
  halved.add<Halved>(3, 4).add<ReLU>();
  EXPECT_EQ(halved(x).to_vector<double>(), relu(halved[0](x)).to_vector<double>());
  Sequential doubled;
  doubled.add<Linear>(3, 4).add<Doubled>();
  EXPECT_EQ(doubled(x).to_vector<double>(), (relu(doubled[0](x)) * 2.0).to_vector<double>());
}

}  // namespace
}  // namespace descent::nn
