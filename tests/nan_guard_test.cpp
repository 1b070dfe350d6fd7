// The guard against NaN and Inf: what it names, and where it looks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "descent/error.h"
#include "descent/ops.h"
#include "training_fixture.h"

namespace descent::test {
namespace {

using train::Trainer;
using train::TrainerOptions;

std::string guard_message(Parts& s, TrainerOptions options, std::int64_t images = 64) {
  Trainer trainer(*s.model.module, *s.optimizer, std::move(options));
  try {
    trainer.fit(quadrants(images));
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(NanGuard, NamesStepLayerTensorAndIndexOfABadWeight) {
  Parts s;
  Tensor weight = s.model.module->named_parameters()[2].tensor;
  weight.data<float>()[3 * 24 + 7] = std::numeric_limits<float>::quiet_NaN();
  const std::string message = guard_message(s, small_options());
  EXPECT_NE(message.find("step 1: layer 3 (Linear): weight[3, 7] is nan"), std::string::npos) << message;
}

TEST(NanGuard, NamesTheLayerWhoseOutputOverflows) {
  Parts s;
  for (const nn::NamedTensor& parameter : s.model.module->named_parameters()) Tensor(parameter.tensor).fill(1e30);
  const std::string message = guard_message(s, small_options());
  EXPECT_NE(message.find("layer 3 (Linear): output[0, 0] is inf"), std::string::npos) << message;
}

TEST(NanGuard, SeesADivergingTraining) {
  Parts s(kMlp, "sgd", DType::f32, 1e25);
  const std::string message = guard_message(s, small_options(50));
  EXPECT_NE(message.find("step "), std::string::npos) << message;
  EXPECT_NE(message.find("layer "), std::string::npos) << message;
  EXPECT_LE(message.size(), 400U);
}

// The gradient is finite, the update is not: seen before anything is saved or computed with it.
TEST(NanGuard, SeesWeightsThatTheUpdateSpoiled) {
  Parts s(kMlp, "sgd", DType::f32, 1e40);
  const std::string message = guard_message(s, small_options());
  EXPECT_NE(message.find("step 1: layer 1 (Linear): weight[0, 0] is "), std::string::npos) << message;
}

TEST(NanGuard, CanBeSwitchedOff) {
  Parts s;
  Tensor(s.model.module->named_parameters()[2].tensor).fill(std::nan(""));
  TrainerOptions options = small_options(1);
  options.nan_guard = false;
  Trainer trainer(*s.model.module, *s.optimizer, options);
  EXPECT_EQ(trainer.fit(quadrants(32)).end, train::End::finished);
}

TEST(NanGuard, SeesLateWhenItLooksSeldom) {
  Parts s;
  Tensor(s.model.module->named_parameters()[0].tensor).fill(std::nan(""));
  TrainerOptions options = small_options(1);
  options.read_every = 3;
  EXPECT_NE(guard_message(s, options), "");
}

// Finite forward, infinite gradient: d sqrt(p) / dp at p = 0.
class RootOfZero : public nn::Module {
 public:
  RootOfZero() : Module("RootOfZero") { p_ = register_parameter("p", Tensor::zeros({4})); }
  Tensor forward(const Tensor& x) override { return x + descent::sqrt(p_); }
  Shape output_shape(const Shape& input) const override { return input; }

 private:
  Tensor p_;
};

TEST(NanGuard, NamesAnInfiniteGradient) {
  nn::Sequential model;
  model.add<nn::Flatten>();
  model.add<nn::Linear>(64, 4);
  model.add<RootOfZero>();
  optim::SGD optimizer(model);
  Trainer trainer(model, optimizer, small_options());
  std::string message;
  try {
    trainer.fit(quadrants(32));
  } catch (const NumericalError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("step 1: layer 2 (RootOfZero): gradient of p[0] is"), std::string::npos) << message;
}

}  // namespace
}  // namespace descent::test
