// What would make a training fail later is refused before its first step, and null arguments are refused.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "descent/autograd.h"
#include "descent/captured_graph.h"
#include "descent/error.h"
#include "descent/ops.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

using train::Trainer;
using train::TrainerOptions;

// Records whether the training got as far as a callback.
class Begun : public train::Callback {
 public:
  std::string name() const override { return "begun"; }
  void on_begin(Trainer&) override { begun = true; }
  bool begun = false;
};

data::Dataset with_label(data::Dataset dataset, std::int64_t index, std::int32_t label) {
  dataset.labels = dataset.labels.clone();
  dataset.labels.data<std::int32_t>()[index] = label;
  return dataset;
}

data::Dataset of_classes(data::Dataset dataset, int classes) {
  dataset.class_names.resize(static_cast<std::size_t>(classes), "more");
  return dataset;
}

struct Case {
  std::string says;
  std::int64_t images = 32;
  std::function<void(TrainerOptions&)> options = [](TrainerOptions&) {};
  std::function<data::Dataset(data::Dataset)> train = [](data::Dataset d) { return d; };
  std::function<data::Dataset(data::Dataset)> validation = {};
  const char* model = kStateful;
};

TEST(BeforeTheFirstStep, WhatCanBeForeseenIsRefused) {
  const auto nothing = [](data::Dataset) { return data::Dataset{}; };
  const std::vector<Case> cases = {
      {"the last batch of an epoch has 1 image (33 images in batches of 16), and layer 2 (BatchNorm1d)", 33},
      {"leave it out with TrainerOptions::drop_last", 17},
      {"batches of 1 image: layer 2 (BatchNorm1d)", 8, [](auto& o) { o.batch_size = 1; }},
      {"there is 1 training image", 1, [](auto& o) { o.accumulation_steps = 5; }},
      {"no whole batch", 15, [](auto& o) { o.drop_last = true; }},
      {"training split is empty", 32, [](auto&) {}, nothing},
      {"needs a validation split", 32, [](auto& o) { o.patience = 1; }},
      {"needs a validation split", 32, [](auto& o) { o.patience = 1; }, [](auto d) { return d; }, nothing},
      {"label of training image 31 is 4", 32, [](auto&) {}, [](auto d) { return with_label(d, 31, 4); }},
      {"label of training image 7 is -1", 32, [](auto&) {}, [](auto d) { return with_label(d, 7, -1); }},
      {"label of validation image 3 is 9", 32, [](auto&) {}, [](auto d) { return d; },
       [](auto d) { return with_label(d, 3, 9); }},
      {"the training labels are undefined", 32, [](auto&) {},
       [](auto d) {
         d.labels = {};
         return d;
       }},
      {"has 5 classes", 32, [](auto&) {}, [](auto d) { return d; }, [](auto d) { return of_classes(d, 5); }},
      {"expects", 32, [](auto&) {}, [](auto d) { return d; },
       [](auto d) {
         d.images = Tensor::zeros({d.size(), 9, 8, 1}, DType::u8);
         return d;
       }},
      {"the training images are f32", 32, [](auto&) {},
       [](auto d) {
         d.images = d.images.to(DType::f32);
         return d;
       }},
      {"the trainer's dtype is f64", 32, [](auto& o) { o.dtype = DType::f64; }},
      {"normalization", 32,
       [](auto& o) {
         o.normalization.shift = {1, 2};
       }},
  };
  for (const Case& c : cases) {
    Parts s(c.model);
    TrainerOptions options = small_options();
    c.options(options);
    const auto begun = std::make_shared<Begun>();
    Trainer trainer(*s.model.module, *s.optimizer, options);
    trainer.add(begun);
    const data::Dataset train = c.train(quadrants(c.images));
    const data::Dataset validation = c.validation ? c.validation(quadrants(8, 2)) : data::Dataset{};
    const auto before = bits_of(io::state_dict(*s.model.module));
    EXPECT_ERROR("InvalidArgument", c.says, trainer.fit(train, c.validation ? &validation : nullptr));
    EXPECT_FALSE(begun->begun) << c.says;
    EXPECT_EQ(trainer.step(), 0) << c.says;
    EXPECT_EQ(bits_of(io::state_dict(*s.model.module)), before) << c.says;
  }
}

// With one pixel per channel, BatchNorm2d behaves like BatchNorm1d; larger images have enough values.
TEST(BeforeTheFirstStep, BatchNorm2dIsCountedWithItsPixels) {
  const char* one = R"({"input": [8, 8, 1], "layers": [{"type": "Conv2d", "out_channels": 2, "kernel_size": 8},
      {"type": "BatchNorm2d"}, {"type": "Flatten"}, {"type": "Linear", "out_features": 4}]})";
  const char* many = R"({"input": [8, 8, 1], "layers": [{"type": "Conv2d", "out_channels": 2, "kernel_size": 7},
      {"type": "BatchNorm2d"}, {"type": "Flatten"}, {"type": "Linear", "out_features": 4}]})";
  Parts a(one), b(many);
  Trainer refused(*a.model.module, *a.optimizer, small_options(1));
  EXPECT_ERROR("InvalidArgument", "layer 1 (BatchNorm2d)", refused.fit(quadrants(17)));
  Trainer fine(*b.model.module, *b.optimizer, small_options(1));
  EXPECT_EQ(fine.fit(quadrants(17)).step, 2);
}

TEST(BeforeTheFirstStep, WhatWorksIsNotRefused) {
  Parts s(kStateful);
  TrainerOptions options = small_options(2);
  options.drop_last = true;
  Trainer trainer(*s.model.module, *s.optimizer, options);
  EXPECT_EQ(trainer.fit(quadrants(33)).step, 4);
  const data::Dataset one = of_classes(quadrants(1, 2), 4);  // evaluation uses the running statistics
  Parts t(kStateful);
  Trainer evaluated(*t.model.module, *t.optimizer, small_options(1));
  EXPECT_EQ(evaluated.fit(quadrants(32), &one).epochs[0].validation.count, 1);
}

// A module without an output_shape can still be trained.
class Silent : public nn::Module {
 public:
  Silent() : Module("Silent") {}
  Tensor forward(const Tensor& x) override { return x * 2.0; }
};

TEST(BeforeTheFirstStep, ModulesWithoutAnOutputShapeAreTakenAsTheyAre) {
  nn::Sequential model;
  model.add<nn::Flatten>();
  model.add<Silent>();
  model.add<nn::Linear>(64, 4);
  optim::SGD optimizer(model);
  Trainer trainer(model, optimizer, small_options(1));
  EXPECT_EQ(trainer.fit(quadrants(32)).step, 2);
}

// It may be nested at any depth: the error's text, which names the path, is truncated.
TEST(BeforeTheFirstStep, AModuleWithoutAnOutputShapeMayLieDeep) {
  std::unique_ptr<nn::Module> inner = std::make_unique<Silent>();
  for (int depth = 0; depth < 250; ++depth) {
    auto around = std::make_unique<nn::Sequential>();
    around->add(std::move(inner));
    inner = std::move(around);
  }
  nn::Sequential model;
  model.add<nn::Flatten>();
  model.add(std::move(inner));
  model.add<nn::Linear>(64, 4);
  optim::SGD optimizer(model);
  Trainer trainer(model, optimizer, small_options(1));
  EXPECT_EQ(trainer.fit(quadrants(32)).step, 2);
}

TEST(BeforeTheFirstStep, AFrozenBatchNormTakesAnyBatch) {
  Parts s(kStateful);
  s.model.module->find("2").eval();
  Trainer trainer(*s.model.module, *s.optimizer, small_options(1));
  EXPECT_EQ(trainer.fit(quadrants(33)).step, 3);
}

TEST(BeforeTheFirstStep, EvaluationRefusesLabelsThatAreNoClasses) {
  Parts s;
  for (const std::int32_t label : {-1, 4, 1 << 30}) {
    EXPECT_ERROR("InvalidArgument", "of example 5",
                 train::evaluate(*s.model.module, with_label(quadrants(8), 5, label), to_unit()));
  }
  data::Dataset fewer = quadrants(8);
  fewer.labels = fewer.labels.narrow(0, 0, 7);
  EXPECT_ERROR("InvalidArgument", "labels", train::evaluate(*s.model.module, fewer, to_unit()));
  EXPECT_ERROR("InvalidArgument", "8 images, the labels are [7]", data::class_counts(fewer));
  EXPECT_ERROR("InvalidArgument", "8 images, the labels are [7]", data::stratified_split(fewer, 0.5, 1));
}

// ---- dropping the short batch ----

TEST(DropLast, EpochsHaveWholeBatchesOnly) {
  class Sizes : public train::Callback {
   public:
    std::string name() const override { return "sizes"; }
    void on_step(Trainer&, const train::StepInfo& info) override {
      text += fmt::format("{}/{} {}/{} {}\n", info.epoch_step, info.epoch_steps, info.batch_images, info.epoch_images,
                          info.images);
    }
    std::string text;
  };
  Parts s;
  TrainerOptions options = small_options(1);
  options.drop_last = true;
  options.accumulation_steps = 2;
  Trainer trainer(*s.model.module, *s.optimizer, options);
  const auto sizes = std::make_shared<Sizes>();
  trainer.add(sizes);
  const auto result = trainer.fit(quadrants(63));
  EXPECT_EQ(sizes->text, "1/2 32/48 32\n2/2 48/48 16\n");
  EXPECT_EQ(result.epochs[0].train.count, 48);
}

TEST(DropLast, IsPartOfACheckpoint) {
  const auto make = [](Parts& s, bool drop) {
    TrainerOptions options = small_options(1);
    options.drop_last = drop;
    return std::make_unique<Trainer>(*s.model.module, *s.optimizer, options);
  };
  Parts a, b, c;
  const auto dropping = make(a, true), whole = make(b, false), old = make(c, false);
  EXPECT_ERROR("InvalidArgument", "drop_last is false", whole->load_state_dict(dropping->state_dict()));
  // A checkpoint from before the option existed.
  io::TensorFile file = whole->state_dict();
  std::string& fields = file.metadata["trainer"];
  const std::string entry = "\"drop_last\":false,";
  ASSERT_NE(fields.find(entry), std::string::npos) << fields;
  fields.erase(fields.find(entry), entry.size());
  old->load_state_dict(file);
  EXPECT_ERROR("InvalidArgument", "drop_last is true", dropping->load_state_dict(file));
}

// ---- null ----

TEST(Null, IsRefusedWhereItIsGiven) {
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(1));
  EXPECT_ERROR("InvalidArgument", "callback is null", trainer.add(nullptr));
  EXPECT_EQ(trainer.fit(quadrants(32), nullptr).step, 2);
  nn::Sequential model;
  EXPECT_ERROR("InvalidArgument", "is null", model.add(std::unique_ptr<nn::Module>()));
  EXPECT_ERROR("InvalidArgument", "no function",
               gradcheck({}, {Tensor::zeros({1}, DType::f64).set_requires_grad(true)}));
  EXPECT_ERROR("InvalidArgument", "no step", CapturedGraph(Device::cpu(), {}));
}

class Holder : public nn::Module {
 public:
  explicit Holder(int kind) : Module("Holder") {
    if (kind == 0) register_parameter("p", {});
    if (kind == 1) register_buffer("b", {});
    if (kind == 2) register_checkpoint_state("c", {});
    if (kind == 3) register_module("m", nullptr);
    if (kind == 4) {
      register_checkpoint_state("c", Tensor::zeros({1}));
      register_checkpoint_state("c", {});
    }
  }
  Tensor forward(const Tensor& x) override { return x; }
};

TEST(Null, IsNoPartOfAModule) {
  for (const int kind : {0, 1, 2, 3, 4}) EXPECT_ERROR("InvalidArgument", "Holder: ", Holder{kind});
}

TEST(Null, OptionalFunctionsMayBeEmpty) {
  const TempDir dir;
  Parts s;
  TrainerOptions options = small_options(1);
  options.learning_rate = {};
  options.should_stop = {};
  Trainer trainer(*s.model.module, *s.optimizer, options);
  trainer.add(train::metrics_log(dir / "logs", 1, {}));
  train::CheckpointOptions checkpoints;
  checkpoints.dir = dir / "file";
  io::write_text(dir / "file", "in the way");
  trainer.add(train::checkpoints(checkpoints));
  EXPECT_EQ(trainer.fit(quadrants(32)).step, 2);  // the checkpoint failed, and nothing reports it
  EXPECT_EQ(data::load("synthetic", data::FetchPolicy::local, {}).train.size(), 10000);
}

// ---- memory depends on the data, not on the options ----

TEST(Memory, LargeOptionsTakeNoMoreThanTheDataNeed) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  const data::Dataset images = quadrants(100);
  struct Sizes {
    std::int64_t batch_size, accumulation_steps, sync_every;
  };
  for (const Sizes& sizes :
       std::vector<Sizes>{{16, 50'000'000, 0}, {16, kHuge, 0}, {16, 1, kHuge}, {16, 3, kHuge}, {kHuge, kHuge, kHuge}}) {
    Parts s;
    TrainerOptions options = small_options(2);
    options.batch_size = sizes.batch_size;
    options.accumulation_steps = sizes.accumulation_steps;
    options.sync_every = sizes.sync_every;
    const auto before = memory_info(Device::cpu()).bytes_in_use;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    const auto result = trainer.fit(images);
    EXPECT_LT(memory_info(Device::cpu()).bytes_in_use - before, 1U << 20U) << sizes.accumulation_steps;
    EXPECT_EQ(result.epochs[1].train.count, 100);
    EXPECT_EQ(result.step, sizes.accumulation_steps == 1 ? 14 : sizes.accumulation_steps == 3 ? 6 : 2);
  }
}

// The largest useful value gives the same bits as any larger one.
TEST(Memory, MoreThanAnEpochIsAnEpoch) {
  const data::Dataset images = quadrants(100);
  const auto run = [&](std::int64_t accumulate, std::int64_t sync_every) {
    Parts s;
    TrainerOptions options = small_options(2);
    options.accumulation_steps = accumulate;
    options.sync_every = sync_every;
    Trainer trainer(*s.model.module, *s.optimizer, options);
    trainer.fit(images);
    return bits_of(io::state_dict(*s.model.module));
  };
  EXPECT_EQ(run(7, 1), run(50'000'000, 1));
  EXPECT_EQ(run(7, 1), run(50'000'000, 9));
  EXPECT_EQ(run(1, 1), run(1, std::numeric_limits<std::int64_t>::max()));
}

TEST(Memory, PredictAndEvaluateRefuseBatchesOfNothing) {
  Parts s;
  train::EvaluateOptions options;
  options.batch_size = 0;
  EXPECT_ERROR("InvalidArgument", "batch", train::predict(*s.model.module, quadrants(4).images, to_unit(), options));
  EXPECT_ERROR("InvalidArgument", "batch", train::evaluate(*s.model.module, quadrants(4), to_unit(), options));
}

}  // namespace
}  // namespace descent::test
