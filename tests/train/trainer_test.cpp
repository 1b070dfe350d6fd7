// fit, evaluate and predict; early stopping; model files.
#include <gtest/gtest.h>

#include <cmath>

#include "descent/error.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

using train::Trainer;
using train::TrainerOptions;

std::vector<double> weights_of(nn::Module& module) {
  std::vector<double> all;
  for (const Tensor& parameter : module.parameters()) {
    const auto values = parameter.to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

TEST(Trainer, Learns) {
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(8));
  const auto before = trainer.evaluate(quadrants(200, 9)).metrics;
  const auto result = trainer.fit(quadrants(400));
  const auto after = trainer.evaluate(quadrants(200, 9)).metrics;
  EXPECT_EQ(result.end, train::StopReason::finished);
  EXPECT_EQ(result.step, 8 * 25);
  ASSERT_EQ(result.epochs.size(), 8U);
  EXPECT_EQ(result.epochs[0].train.count, 400);
  EXPECT_LT(result.epochs[7].train.loss, result.epochs[0].train.loss);
  EXPECT_GT(after.accuracy, 0.95);
  EXPECT_LT(after.loss, before.loss);
}

TEST(Trainer, EvaluateAgreesWithPredict) {
  Parts s;
  const data::Dataset images = quadrants(70);
  Trainer trainer(*s.model.module, *s.optimizer, small_options());
  trainer.fit(images);
  const train::Evaluation evaluation = trainer.evaluate(images, 1000);
  const Tensor probabilities = trainer.predict(images.images);
  ASSERT_EQ(probabilities.shape(), Shape({70, 4}));
  const float* p = probabilities.data<float>();
  double loss = 0;
  std::vector<std::int64_t> confusion(16);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < 70; ++i) {
    const float* row = p + 4 * i;
    EXPECT_NEAR(row[0] + row[1] + row[2] + row[3], 1, 1e-6);
    const auto label = images.labels.data<std::int32_t>()[i];
    const auto predicted = std::max_element(row, row + 4) - row;
    loss -= std::log(static_cast<double>(row[label]));
    ++confusion[static_cast<std::size_t>(label * 4 + predicted)];
    wrong += predicted != label ? 1 : 0;
  }
  EXPECT_EQ(evaluation.confusion, confusion);
  EXPECT_NEAR(evaluation.metrics.loss, loss / 70, 1e-6);
  EXPECT_DOUBLE_EQ(evaluation.metrics.accuracy, static_cast<double>(70 - wrong) / 70);
  ASSERT_EQ(static_cast<std::int64_t>(evaluation.top_losses.size()), wrong);
  for (std::size_t i = 1; i < evaluation.top_losses.size(); ++i)
    EXPECT_GE(evaluation.top_losses[i - 1].loss, evaluation.top_losses[i].loss);
  EXPECT_EQ(evaluation.images_of(0), 18);
}

TEST(Trainer, EvaluateIsTheSameForEveryBatchSizeAndPutsTheModeBack) {
  Parts s(kStateful);
  const data::Dataset images = quadrants(65);
  s.model.module->train();
  train::EvaluateOptions small, large;
  small.batch_size = 7;
  large.batch_size = 64;
  const auto a = train::evaluate(*s.model.module, images, to_unit(), small);
  const auto b = train::evaluate(*s.model.module, images, to_unit(), large);
  EXPECT_TRUE(s.model.module->is_training());
  EXPECT_EQ(a.confusion, b.confusion);
  EXPECT_NEAR(a.metrics.loss, b.metrics.loss, 1e-6);
}

std::vector<bool> modes(const nn::Module& model) {
  std::vector<bool> modes;
  for (const nn::NamedModule& entry : model.named_modules()) modes.push_back(entry.module->is_training());
  return modes;
}

TEST(Trainer, FitPutsEveryModeBack) {
  struct Throwing final : train::Callback {
    std::string name() const override { return "throwing"; }
    void on_step(Trainer&, const train::StepInfo&) override { throw IoError("somewhere", "write", ENOSPC); }
  };
  const data::Dataset images = quadrants(32);
  for (const bool training : {true, false}) {
    Parts s(kStateful);
    nn::Module& model = *s.model.module;
    model.train(training);
    model.find("2").eval();  // a frozen BatchNorm1d
    const std::vector<float> mean = model.named_buffers()[0].tensor.to_vector<float>();
    const std::vector<bool> before = modes(model);
    Trainer(model, *s.optimizer, small_options()).fit(images, &images);
    EXPECT_EQ(modes(model), before);
    // It stays frozen if the model was in training mode; a model in evaluation mode is trained as a whole.
    EXPECT_EQ(model.named_buffers()[0].tensor.to_vector<float>() == mean, training);
    Trainer failing(model, *s.optimizer, small_options());
    failing.add(std::make_shared<Throwing>());
    EXPECT_ERROR("IoError", "", failing.fit(images));
    EXPECT_EQ(modes(model), before);
  }
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options());
  const nn::EvalGuard guard;
  EXPECT_ERROR("InvalidArgument", "EvalGuard", trainer.fit(images));
}

TEST(Trainer, ClassesAndShapesMustFit) {
  Parts s;
  data::Dataset images = quadrants(16);
  images.class_names.emplace_back("fifth");
  EXPECT_ERROR("InvalidArgument", "5 classes", train::evaluate(*s.model.module, images, to_unit()));
  EXPECT_ERROR("InvalidArgument", "evaluate: no images",
               train::evaluate(*s.model.module, quadrants(8).take(0), to_unit()));
  const Tensor wide = Tensor::zeros({2, 8, 9, 1}, DType::u8);
  EXPECT_ERROR("InvalidArgument", "", train::predict(*s.model.module, wide, to_unit()));
  EXPECT_ERROR("InvalidArgument", "u8", train::predict(*s.model.module, Tensor::zeros({2, 8, 8, 1}), to_unit()));
  train::EvaluateOptions none;
  none.batch_size = 0;
  EXPECT_ERROR("InvalidArgument", "batch", train::predict(*s.model.module, quadrants(4).images, to_unit(), none));
  EXPECT_ERROR("InvalidArgument", "batch", train::evaluate(*s.model.module, quadrants(4), to_unit(), none));
}

TEST(Trainer, RefusesBadOptions) {
  Parts s;
  const auto with = [&](auto change) {
    TrainerOptions options = small_options();
    change(options);
    Trainer trainer(*s.model.module, *s.optimizer, options);
  };
  EXPECT_ERROR("InvalidArgument", "epochs is 0", with([](TrainerOptions& o) { o.epochs = 0; }));
  EXPECT_ERROR("InvalidArgument", "batch_size", with([](TrainerOptions& o) { o.batch_size = 0; }));
  EXPECT_ERROR("InvalidArgument", "label_smoothing", with([](TrainerOptions& o) { o.label_smoothing = 1; }));
  EXPECT_ERROR("InvalidArgument", "clip_norm", with([](TrainerOptions& o) { o.clip_norm = std::nan(""); }));
  EXPECT_ERROR("InvalidArgument", "clip_value", with([](TrainerOptions& o) { o.clip_value = -1; }));
  EXPECT_ERROR("InvalidArgument", "accumulation_steps", with([](TrainerOptions& o) { o.accumulation_steps = 0; }));
  TrainerOptions patient = small_options();
  patient.patience = 1;
  Trainer trainer(*s.model.module, *s.optimizer, patient);
  EXPECT_ERROR("InvalidArgument", "validation", trainer.fit(quadrants(32)));
}

// Five batches of 8 equal one batch of 40, also at the end of an epoch, since 100 = 2 * 40 + 20.
TEST(Trainer, AccumulationIsALargerBatch) {
  const auto run = [](std::int64_t batch, std::int64_t accumulate) {
    Parts s(kMlp, "sgd", DType::f64, 0.1);
    TrainerOptions options = small_options(3);
    options.dtype = DType::f64;
    options.batch_size = batch;
    options.accumulation_steps = accumulate;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    EXPECT_EQ(trainer.fit(quadrants(100)).step, 9);
    return weights_of(*s.model.module);
  };
  const auto large = run(40, 1);
  const auto small = run(8, 5);
  for (std::size_t i = 0; i < large.size(); ++i) ASSERT_NEAR(large[i], small[i], 1e-12) << i;
}

TEST(Trainer, ReadingSeldomChangesNothing) {
  const auto run = [](std::int64_t sync_every) {
    Parts s(kStateful);
    TrainerOptions options = small_options(2);
    options.sync_every = sync_every;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    const auto result = trainer.fit(quadrants(150));
    return std::pair(weights_of(*s.model.module), result.epochs.back().train);
  };
  const auto [weights, metrics] = run(1);
  const auto [weights7, metrics7] = run(7);
  EXPECT_EQ(weights, weights7);
  EXPECT_EQ(metrics.loss, metrics7.loss);
  EXPECT_EQ(metrics.accuracy, metrics7.accuracy);
  EXPECT_EQ(metrics7.count, 150);
}

TEST(Trainer, ClippingByNormAndValueTakesEffect) {
  const auto run = [](double norm, double value) {
    Parts s(kMlp, "sgd", DType::f32, 1.0);
    const auto before = weights_of(*s.model.module);
    TrainerOptions options = small_options(1);
    options.batch_size = 64;
    options.clip_norm = norm;
    options.clip_value = value;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    trainer.fit(quadrants(64));  // one step
    const auto after = weights_of(*s.model.module);
    double sum = 0, largest = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      sum += (after[i] - before[i]) * (after[i] - before[i]);
      largest = std::max(largest, std::abs(after[i] - before[i]));
    }
    return std::pair(std::sqrt(sum), largest);
  };
  EXPECT_GT(run(0, 0).first, 0.02);
  EXPECT_NEAR(run(0.01, 0).first, 0.01, 1e-4);
  EXPECT_GT(run(0, 0).second, 2e-3);
  EXPECT_NEAR(run(0, 1e-3).second, 1e-3, 1e-6);
}

TEST(Trainer, LabelSmoothingRaisesTheLossItReports) {
  const auto loss = [](double smoothing) {
    Parts s;
    TrainerOptions options = small_options(6);
    options.label_smoothing = smoothing;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    return trainer.fit(quadrants(200)).epochs.back().train.loss;
  };
  EXPECT_GT(loss(0.2), loss(0) + 0.1);
}

// ---- validation ----

TEST(Validation, StopsEarly) {
  Parts s;
  TrainerOptions options = small_options(20);
  options.patience = 2;
  options.learning_rate = [](std::int64_t, std::int64_t) { return 0.0; };  // the loss never decreases
  Trainer trainer(*s.model.module, *s.optimizer, options);
  const data::Dataset validation = quadrants(40, 2);
  const auto result = trainer.fit(quadrants(64), &validation);
  EXPECT_EQ(result.end, train::StopReason::early_stop);
  EXPECT_EQ(result.epochs.size(), 3U);
  EXPECT_EQ(result.best_epoch, 0);
}

TEST(Validation, KeepsTheBestWeights) {
  for (const bool keep : {true, false}) {
    Parts s(kMlp, "sgd", DType::f32, 0.1);
    TrainerOptions options = small_options(4);
    options.keep_best = keep;
    options.learning_rate = [](std::int64_t step, std::int64_t steps) { return step < steps / 2 ? 0.1 : 1000.0; };
    options.clip_norm = 1;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    const data::Dataset validation = quadrants(80, 2);
    const auto result = trainer.fit(quadrants(160), &validation);
    EXPECT_LT(result.best_epoch, 2);
    const double best = result.epochs[static_cast<std::size_t>(result.best_epoch)].validation.loss;
    const double now = trainer.evaluate(validation).metrics.loss;
    if (keep) {
      EXPECT_EQ(now, best);
    } else {
      EXPECT_GT(now, best);
    }
  }
}

// ---- model files ----

TEST(ModelFile, ComesBackWithEverythingThatPredictionNeeds) {
  const TempDir dir;
  Parts s(kStateful);
  const data::Dataset images = quadrants(64);
  TrainerOptions options = small_options(2);
  options.normalization = data::Normalization::fit(data::Normalization::Kind::zscore, images);
  Trainer trainer(*s.model.module, *s.optimizer, options);
  trainer.fit(images);
  const std::string path = dir / "model.safetensors";
  train::save_model(path, *s.model.module, {s.model.json, "quadrants", images.class_names, options.normalization});
  const train::LoadedModel loaded = train::load_model(path);
  EXPECT_EQ(loaded.info.normalization, options.normalization);
  EXPECT_EQ(loaded.info.class_names, images.class_names);
  EXPECT_EQ(loaded.info.dataset, "quadrants");
  EXPECT_FALSE(loaded.module->is_training());
  expect_same<float>(train::predict(*loaded.module, images.images, loaded.info.normalization),
                     trainer.predict(images.images));
}

TEST(ModelFile, RefusesWhatIsNotOne) {
  const TempDir dir;
  Parts s;
  io::save_module(dir / "bare.safetensors", *s.model.module);
  EXPECT_ERROR("FormatError", "\"model\"", train::load_model(dir / "bare.safetensors"));
  const train::ModelInfo info{s.model.json, "quadrants", {"a", "b", "c"}, to_unit()};
  train::save_model(dir / "three.safetensors", *s.model.module, info);
  EXPECT_ERROR("FormatError", "3 names", train::load_model(dir / "three.safetensors"));
  Parts other(kStateful);
  train::save_model(dir / "other.safetensors", *other.model.module,
                    {s.model.json, "quadrants", {"a", "b", "c", "d"}, to_unit()});
  EXPECT_ERROR("FormatError", "other.safetensors", train::load_model(dir / "other.safetensors"));
}

}  // namespace
}  // namespace descent::test
