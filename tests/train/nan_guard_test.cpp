// The guard against NaN and Inf: what it names, and what it checks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "descent/error.h"
#include "descent/ops.h"
#include "support/files.h"
#include "support/training_fixture.h"

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

// The gradient is finite but the update is not: detected before anything is saved or computed with it.
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
  EXPECT_EQ(trainer.fit(quadrants(32)).end, train::StopReason::finished);
}

// Without the guard everything continues: validation, the files, a checkpoint and the training resumed from it.
TEST(NanGuard, SwitchedOffTrainingGoesThroughValidationFilesAndCheckpoints) {
  const data::Dataset images = quadrants(64), validation = quadrants(16, 2);
  const TempDir dir;
  const auto make = [&](Parts& s, const std::string& name, std::int64_t stop) {
    TrainerOptions options = small_options(2);
    options.nan_guard = false;
    options.keep_best = true;
    auto trainer = std::make_unique<Trainer>(*s.model.module, *s.optimizer, options);
    trainer->add(train::metrics_log(dir / name, 1));
    class Stop : public train::Callback {
     public:
      explicit Stop(std::int64_t at) : at_(at) {}
      std::string name() const override { return "stop"; }
      void on_step(Trainer& t, const train::StepInfo& info) override {
        if (info.step == at_) saved = io::decode_tensors(io::encode_tensors(t.state_dict()), "memory");
      }
      io::TensorFile saved;

     private:
      std::int64_t at_;
    };
    auto callback = std::make_shared<Stop>(stop);
    trainer->add(callback);
    return std::pair(std::move(trainer), callback);
  };
  Parts a(kMlp, "sgd", DType::f32, 1e25), b(kMlp, "sgd", DType::f32, 1e25);
  const auto [whole, stop] = make(a, "whole", 3);
  const auto result = whole->fit(images, &validation);
  EXPECT_TRUE(std::isnan(result.epochs[1].train.loss));
  EXPECT_TRUE(std::isnan(result.epochs[1].validation.loss));
  EXPECT_EQ(result.epochs[1].validation.count, 16);
  const nlohmann::json fields = nlohmann::json::parse(stop->saved.metadata.at("trainer"));
  EXPECT_EQ(fields["loss_sum"], "NaN");
  const auto rest = make(b, "whole", -1).first;  // in the same folder
  rest->load_state_dict(stop->saved);
  const auto resumed = rest->fit(images, &validation);
  EXPECT_EQ(resumed.step, result.step);
  EXPECT_EQ(bits_of(io::state_dict(*b.model.module)), bits_of(io::state_dict(*a.model.module)));
  std::istringstream lines(io::read_text(dir / "whole/metrics.jsonl"));
  std::int64_t records = 0;
  for (std::string line; std::getline(lines, line); ++records) {
    const nlohmann::json record = nlohmann::json::parse(line);
    EXPECT_TRUE(record["loss"].is_number() || record["loss"] == "NaN" || record["loss"] == "Infinity") << line;
  }
  EXPECT_EQ(records, 8 + 2);
  EXPECT_EQ(nlohmann::json::parse(io::read_text(dir / "whole/metrics.jsonl")
                                      .substr(io::read_text(dir / "whole/metrics.jsonl").rfind("{\"")))["val_loss"],
            "NaN");
  EXPECT_NE(io::read_text(dir / "whole/metrics.csv").find(",NaN,"), std::string::npos);
  // Earlier versions wrote null instead.
  io::TensorFile old = stop->saved;
  nlohmann::json nulls = fields;
  nulls["loss_sum"] = nullptr;
  old.metadata["trainer"] = nulls.dump();
  Parts c(kMlp, "sgd", DType::f32, 1e25);
  TrainerOptions options = small_options(2);
  options.nan_guard = false;
  options.keep_best = true;
  Trainer earlier(*c.model.module, *c.optimizer, options);
  earlier.load_state_dict(old);
  EXPECT_EQ(earlier.step(), 3);
}

TEST(NanGuard, AReportOfNaNsLeavesThemOut) {
  train::Report report;
  report.metrics_jsonl =
      "{\"type\":\"step\",\"epochs_done\":0.5,\"loss\":2.0,\"accuracy\":0.5}\n"
      "{\"type\":\"step\",\"epochs_done\":1.0,\"loss\":\"NaN\",\"accuracy\":0.25}\n"
      "{\"type\":\"step\",\"epochs_done\":1.5,\"loss\":\"Infinity\",\"accuracy\":0.25}\n"
      "{\"type\":\"step\",\"epochs_done\":2.0,\"loss\":null,\"accuracy\":0.25}\n";
  report.images = quadrants(4);
  Parts s;
  Tensor weight = s.model.module->named_parameters()[0].tensor;
  weight.data<float>()[0] = std::nanf("");
  weight.data<float>()[1] = std::numeric_limits<float>::infinity();
  report.model = s.model.module.get();
  const std::string page = train::render_report(report);
  const auto points =
      page.substr(page.find("points=\""), page.find('>', page.find("points=\"")) - page.find("points=\""));
  EXPECT_EQ(std::count(points.begin(), points.end(), ','), 1) << points;
}

TEST(NanGuard, EvaluationWithoutItCountsNaNAsTheAnswer) {
  Parts s;
  Tensor(s.model.module->named_parameters()[3].tensor).fill(std::nan(""));
  train::EvaluateOptions options;
  options.top_losses = 3;
  EXPECT_ERROR("Error", "is NaN", train::evaluate(*s.model.module, quadrants(16), to_unit(), options));
  options.nan_guard = false;
  const train::Evaluation found = train::evaluate(*s.model.module, quadrants(16), to_unit(), options);
  EXPECT_TRUE(std::isnan(found.metrics.loss));
  EXPECT_EQ(found.metrics.count, 16);
  EXPECT_EQ(found.metrics.accuracy, 0.25);  // the first class is always predicted
  EXPECT_EQ(found.top_losses.size(), 3U);
}

TEST(NanGuard, SeesLateWhenItLooksSeldom) {
  Parts s;
  Tensor(s.model.module->named_parameters()[0].tensor).fill(std::nan(""));
  TrainerOptions options = small_options(1);
  options.sync_every = 3;
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
