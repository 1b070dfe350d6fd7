// Training steps on a CUDA device match the CPU's up to rounding: every optimizer, clipping, accumulated gradients,
// random numbers and buffers.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "descent/descent.h"
#include "support/cuda_buffer.h"
#include "support/op_checks.h"

namespace descent::test {
namespace {

class CudaTraining : public ::testing::Test {
 protected:
  void SetUp() override { DESCENT_NEEDS_CUDA(); }
};

using MakeOptimizer = std::function<std::unique_ptr<optim::Optimizer>(const nn::Module&)>;

struct Rule {
  std::string name;
  MakeOptimizer make;
};

template <class Optimizer, class Options>
Rule rule(const std::string& name, const Options& options) {
  return {name, [=](const nn::Module& module) { return std::make_unique<Optimizer>(module, options); }};
}

// Every optimizer. Adam's epsilon is large, so that gradients near 0 are not divided by their own rounding error.
std::vector<Rule> rules() {
  return {rule<optim::SGD>("sgd", optim::SgdOptions{.lr = 0.1}),
          rule<optim::SGD>("sgd with momentum",
                           optim::SgdOptions{.lr = 0.1, .momentum = 0.9, .dampening = 0.2, .weight_decay = 0.01}),
          rule<optim::SGD>("nesterov", optim::SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true}),
          rule<optim::RMSProp>("rmsprop", optim::RmsPropOptions{.lr = 0.01, .eps = 1e-2, .weight_decay = 0.01}),
          rule<optim::RMSProp>("centered rmsprop",
                               optim::RmsPropOptions{.lr = 0.01, .eps = 1e-2, .momentum = 0.5, .centered = true}),
          rule<optim::Adam>("adam", optim::AdamOptions{.lr = 0.02, .beta2 = 0.99, .eps = 1e-2, .weight_decay = 0.01}),
          rule<optim::AdamW>("adamw", optim::AdamWOptions{.lr = 0.02, .eps = 1e-2, .weight_decay = 0.1})};
}

// A small model with parameters of every kind, and random masks.
struct SmallModel : nn::Sequential {
  SmallModel() {
    add<nn::Conv2d>(3, 6, 3, nn::Conv2dOptions{.bias = false});  // BatchNorm2d cancels a bias: its gradient is rounding
    add<nn::BatchNorm2d>(6);
    add<nn::ReLU>();
    add<nn::MaxPool2d>(2);
    add<nn::Flatten>();
    add<nn::Dropout>(0.25);
    add<nn::Linear>(54, 16);
    add<nn::LayerNorm>(16);
    add<nn::Linear>(16, 5);
    reset_parameters(3).seed(4);
  }
};

// Parameters, gradients and buffers after some steps of two backward passes each.
Run train(const Rule& rule, Device device) {
  SmallModel model;
  model.to(device);
  const std::unique_ptr<optim::Optimizer> optimizer = rule.make(model);
  Run run;
  for (std::uint32_t step = 0; step < 3; ++step) {
    optimizer->zero_grad();
    for (std::uint32_t part = 0; part < 2; ++part) {
      const Tensor x = Generator(9, 2 * step + part).normal({8, 8, 8, 3}).to(device);
      const Tensor y = Tensor::from(std::vector<std::int32_t>{0, 1, 2, 3, 4, 0, 1, 2}, {8}, device);
      const Tensor loss = cross_entropy(model(x), y);
      loss.backward();
      run.values.push_back(loss.to_vector<double>());
    }
    run.values.push_back(optim::clip_grad_norm(optimizer->parameters(), 0.5).to_vector<double>());
    for (const Tensor& parameter : model.parameters()) run.values.push_back(parameter.grad().to_vector<double>());
    optimizer->step();
  }
  for (const std::vector<nn::NamedTensor>& each : {model.named_parameters(), model.named_buffers()}) {
    for (const nn::NamedTensor& named : each) run.values.push_back(named.tensor.to_vector<double>());
  }
  return run;
}

TEST_F(CudaTraining, StepsOfEveryOptimizerAreTheCpus) {
  for (const Rule& rule : rules()) {
    EXPECT_LT(worst_distance(train(rule, Device::cuda()), train(rule, Device::cpu())), 1e-4) << rule.name;
  }
}

TEST_F(CudaTraining, RandomNumbersAreTheCpus) {
  Generator here(7, 3), there(7, 3, Device::cuda());
  for (int call = 0; call < 3; ++call) {
    EXPECT_EQ(here.uniform({1001}).to_vector<float>(), there.uniform({1001}).to_vector<float>()) << call;
    EXPECT_EQ(here.permutation(1001).to_vector<std::int32_t>(), there.permutation(1001).to_vector<std::int32_t>())
        << call;
  }
}

}  // namespace
}  // namespace descent::test
