// Captured and replayed steps train exactly like steps that run eagerly: the same bits in every file and the same
// numbers in every report. On the CPU a replay calls the step. A runtime that counts captures and replays, and
// refuses copies to and from the host during a replay, stands in for a device that supports graphs.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "backend/backend.h"
#include "descent/error.h"
#include "descent/ops.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

using train::Graph;
using train::Trainer;
using train::TrainerOptions;

// Replaces the CPU's runtime during its lifetime and enforces a graph's rules.
class StrictRuntime final : public Runtime {
 public:
  StrictRuntime() : inner_(*backend(Device::cpu()).runtime) { backend(Device::cpu()).runtime = this; }
  ~StrictRuntime() override { backend(Device::cpu()).runtime = &inner_; }
  StrictRuntime(const StrictRuntime&) = delete;
  StrictRuntime& operator=(const StrictRuntime&) = delete;

  void* allocate(std::size_t bytes) override { return inner_.allocate(bytes); }
  void free(void* data, std::size_t bytes) noexcept override { inner_.free(data, bytes); }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    refuse("a copy from the host");
    inner_.copy_from_host(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    refuse("a copy to the host");
    inner_.copy_to_host(host, device, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes) override { inner_.copy(to, from, bytes); }
  void synchronize() override { refuse("a wait"); }
  MemoryInfo memory() const override { return inner_.memory(); }
  void empty_cache() override { inner_.empty_cache(); }
  std::unique_ptr<CapturedWork> capture(const std::function<void()>& step) override {
    ++captures;
    if (refuse_captures) throw DeviceError("a copy to the host inside a captured step");
    if (fail_captures > 0) {
      --fail_captures;
      throw OutOfMemory("cpu", 100, 0);
    }
    return std::make_unique<Replay>(*this, step);
  }

  int captures = 0, replays = 0, fail_captures = 0;
  bool refuse_captures = false;

 private:
  class Replay final : public CapturedWork {
   public:
    Replay(StrictRuntime& owner, std::function<void()> step) : owner_(owner), step_(std::move(step)) {}
    void replay() override {
      struct Within {
        explicit Within(bool& flag) : flag_(flag) { flag_ = true; }
        ~Within() { flag_ = false; }
        bool& flag_;
      } within(owner_.within_);
      ++owner_.replays;
      step_();
    }

   private:
    StrictRuntime& owner_;
    std::function<void()> step_;
  };

  void refuse(const char* what) const {
    if (within_) throw DeviceError(std::string(what) + " inside a captured step");
  }

  Runtime& inner_;
  bool within_ = false;
};

inline constexpr const char* kConv =
    R"({"name": "conv", "input": [8, 8, 1], "layers": [
        {"type": "Conv2d", "out_channels": 6, "kernel_size": 3, "padding": 1}, {"type": "BatchNorm2d"}, {"type": "ReLU"},
        {"type": "MaxPool2d", "kernel_size": 2},
        {"type": "Conv2d", "out_channels": 5, "kernel_size": 3, "padding": 1}, {"type": "ReLU"},
        {"type": "MaxPool2d", "kernel_size": 2}, {"type": "Flatten"}, {"type": "Dropout", "p": 0.25},
        {"type": "Linear", "out_features": 4}]})";

struct Case {
  std::string name = {};
  const char* model = kMlp;
  const char* rule = "adam";
  DType dtype = DType::f32;
  std::int64_t epochs = 3, images = 104, sync_every = 0, accumulation_steps = 1, batch_size = 16;  // 104 = 6 * 16 + 8
  double clip_norm = 0, clip_value = 0, label_smoothing = 0;
  bool schedule = false, validation = false;
};

// What every sync reported, and the files that the training ends with.
struct Outcome {
  std::string numbers;
  std::vector<std::byte> state;
  Bits model;
  bool operator==(const Outcome&) const = default;
};

class Recorder : public train::Callback {
 public:
  std::string name() const override { return "recorder"; }
  void on_step(Trainer&, const train::StepInfo& i) override {
    nlohmann::json line = {i.step, i.epoch, i.epoch_step, i.images, i.batch_images, i.learning_rate, i.synced};
    if (i.synced) line.insert(line.end(), {i.loss_sum, i.num_correct, i.num_examples});
    text_ += line.dump();
  }
  void on_epoch(Trainer&, const train::EpochInfo& i) override {
    text_ += nlohmann::json{i.train.loss, i.train.accuracy, i.train.count, i.validation.loss, i.best}.dump() + "\n";
  }
  std::string save() const override { return text_; }
  void restore(const std::string& text) override { text_ = text; }

 private:
  std::string text_;
};

class Session {
 public:
  Session(const Case& c, Graph graph) : case_(c), parts_(c.model, c.rule, c.dtype, 0.02) {
    parts_.model.module->seed(11);
    TrainerOptions options = small_options(c.epochs);
    options.graph = graph;
    options.dtype = c.dtype;
    options.batch_size = c.batch_size;
    options.accumulation_steps = c.accumulation_steps;
    options.sync_every = c.sync_every;
    options.clip_norm = c.clip_norm;
    options.clip_value = c.clip_value;
    options.label_smoothing = c.label_smoothing;
    options.keep_best = c.validation;
    if (c.schedule) {
      options.learning_rate = [](std::int64_t step, std::int64_t) {
        return 0.02 / (1 + static_cast<double>(step / 2));
      };
    }
    options.should_stop = [this] { return trainer_->step() == stop_; };
    trainer_ = std::make_unique<Trainer>(*parts_.model.module, *parts_.optimizer, options);
    recorder_ = std::make_shared<Recorder>();
    trainer_->add(recorder_);
  }

  Outcome run(std::int64_t stop = -1) {
    stop_ = stop;
    const data::Dataset images = quadrants(case_.images), validation = quadrants(40, 2);
    trainer_->fit(images, case_.validation ? &validation : nullptr);
    return {recorder_->save(), io::encode_tensors(trainer_->state_dict()),
            bits_of(io::state_dict(*parts_.model.module))};
  }
  Trainer& trainer() { return *trainer_; }
  Parts& parts() { return parts_; }
  std::int64_t steps() const { return trainer_->step(); }

 private:
  Case case_;
  Parts parts_;
  std::unique_ptr<Trainer> trainer_;
  std::shared_ptr<Recorder> recorder_;
  std::int64_t stop_ = -1;
};

class TrainerGraph : public ::testing::TestWithParam<Case> {};

TEST_P(TrainerGraph, GivesTheBitsOfStepsThatRunAsTheyAre) {
  const Case& c = GetParam();
  Session plain(c, Graph::off);
  const Outcome expected = plain.run();
  StrictRuntime runtime;
  Session graphed(c, Graph::on);
  EXPECT_EQ(graphed.run(), expected);
  const std::int64_t whole = c.images >= c.batch_size ? c.images / c.batch_size : 1;
  EXPECT_EQ(runtime.captures, c.accumulation_steps == 1 ? 1 : 0);
  EXPECT_EQ(runtime.replays, c.accumulation_steps == 1 ? whole * c.epochs - 1 : 0);
}

TEST_P(TrainerGraph, StoppedAndResumedGivesTheSameBits) {
  const Case& c = GetParam();
  Session plain(c, Graph::off);
  const Outcome expected = plain.run();
  const std::int64_t steps = plain.steps();
  StrictRuntime runtime;
  for (std::int64_t stop = 1; stop < steps; stop += c.accumulation_steps == 1 ? 3 : 1) {
    Session first(c, Graph::on);
    first.run(stop);
    const io::TensorFile saved = io::decode_tensors(io::encode_tensors(first.trainer().state_dict()), "memory");
    Session second(c, stop % 2 == 1 ? Graph::on : Graph::off);
    second.trainer().load_state_dict(saved);
    const Outcome rest = second.run();
    EXPECT_EQ(rest.model, expected.model) << "stopped at step " << stop;
    if (c.sync_every <= 1) {
      EXPECT_EQ(rest, expected) << "stopped at step " << stop;  // otherwise a stop adds syncs of its own
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, TrainerGraph,
    ::testing::Values(
        Case{.name = "mlp"}, Case{.name = "mlp_f64", .dtype = DType::f64}, Case{.name = "conv", .model = kConv},
        Case{.name = "conv_read_50", .model = kConv, .sync_every = 50},
        Case{.name = "batch_norm_read_4", .model = kStateful, .rule = "adamw", .sync_every = 4},
        Case{.name = "clip_norm", .model = kConv, .rule = "sgd", .sync_every = 1, .clip_norm = 0.3},
        Case{.name = "clip_value", .rule = "rmsprop", .clip_value = 0.01, .label_smoothing = 0.1},
        Case{.name = "schedule", .model = kStateful, .sync_every = 5, .schedule = true, .validation = true},
        Case{.name = "one_batch", .epochs = 5, .images = 16}, Case{.name = "small", .epochs = 4, .images = 9},
        Case{.name = "one_batch_and_a_tail", .model = kStateful, .epochs = 5, .images = 19},
        Case{.name = "accumulate", .accumulation_steps = 3}),
    [](const auto& info) { return info.param.name; });

TEST(TrainerGraph, IsOffOnTheCpuUnlessAskedFor) {
  StrictRuntime runtime;
  Session session({}, Graph::automatic);
  session.run();
  EXPECT_EQ(runtime.captures, 0);
}

TEST(TrainerGraph, EachFitCapturesAnew) {
  StrictRuntime runtime;
  Session session(Case{.epochs = 2}, Graph::on);
  session.run(4);
  session.run();
  EXPECT_EQ(runtime.captures, 2);
}

// A callback that freezes a layer after an epoch, as in fine-tuning.
class Freezer : public train::Callback {
 public:
  explicit Freezer(nn::Module& layer) : layer_(layer) {}
  std::string name() const override { return "freezer"; }
  void on_epoch(Trainer&, const train::EpochInfo&) override { layer_.freeze(); }

 private:
  nn::Module& layer_;
};

TEST(TrainerGraph, IsCapturedAnewWhenACallbackFreezesALayer) {
  const Case c{.epochs = 4};
  Session plain(c, Graph::off), graphed(c, Graph::on);
  for (Session* session : {&plain, &graphed}) {
    session->trainer().add(std::make_shared<Freezer>(session->parts().model.module->find("1")));
  }
  const Outcome expected = plain.run();
  StrictRuntime runtime;
  EXPECT_EQ(graphed.run(), expected);
  EXPECT_EQ(runtime.captures, 2);
}

TEST(TrainerGraph, ACallbackMayChangeValues) {
  class Shrinker : public train::Callback {
   public:
    std::string name() const override { return "shrinker"; }
    void on_step(Trainer& trainer, const train::StepInfo&) override {
      for (Tensor& parameter : parameters_of(trainer)) parameter.copy_from((parameter.detach() * 0.99).detach());
    }
    static std::vector<Tensor> parameters_of(Trainer& trainer) { return trainer.model().parameters(); }
  };
  const Case c;
  Session plain(c, Graph::off), graphed(c, Graph::on);
  for (Session* session : {&plain, &graphed}) session->trainer().add(std::make_shared<Shrinker>());
  const Outcome expected = plain.run();
  StrictRuntime runtime;
  EXPECT_EQ(graphed.run(), expected);
  EXPECT_EQ(runtime.captures, 1);
}

TEST(TrainerGraph, MemoryThatIsShortIsClearedOnce) {
  StrictRuntime runtime;
  runtime.fail_captures = 1;
  Session session({}, Graph::on);
  session.run();
  EXPECT_EQ(runtime.captures, 2);
  runtime.fail_captures = 2;
  Session other({}, Graph::on);
  EXPECT_ERROR("OutOfMemory", "", other.run());
}

TEST(TrainerGraph, NamesTheWayOutWhereAStepCannotBeCaptured) {
  StrictRuntime runtime;
  runtime.refuse_captures = true;
  Session session({}, Graph::on);
  EXPECT_ERROR("Error", "a copy to the host inside a captured step; TrainerOptions::graph", session.run());
  EXPECT_EQ(session.steps(), 1);
}

// A layer that reads its input on the host, which works eagerly but not in a graph. It shows that these tests would
// detect such a step of ours.
class Looker : public nn::Module {
 public:
  Looker() : Module("Looker") {}
  Tensor forward(const Tensor& x) override { return x * (descent::sum(x.detach()).item() > 1e9 ? 0.5 : 1.0); }
  Shape output_shape(const Shape& input) const override { return input; }
};

TEST(TrainerGraph, HostMemoryIsOutOfReachHere) {
  nn::Sequential model;
  model.add<nn::Flatten>();
  model.add<nn::Linear>(64, 4);
  model.add<Looker>();
  optim::SGD optimizer(model);
  StrictRuntime runtime;
  TrainerOptions options = small_options();
  options.graph = Graph::on;
  Trainer trainer(model, optimizer, options);
  EXPECT_ERROR("Error", "a copy to the host", trainer.fit(quadrants(64)));
  options.graph = Graph::off;
  Trainer plain(model, optimizer, options);
  EXPECT_EQ(plain.fit(quadrants(64)).end, train::StopReason::finished);
}

TEST(TrainerGraph, TheGuardNamesWhatWentWrong) {
  for (const std::int64_t sync_every : {1, 3, 50}) {
    Case c;
    c.rule = "sgd";
    c.sync_every = sync_every;
    Session session(c, Graph::on);
    class Spoiler : public train::Callback {
     public:
      std::string name() const override { return "spoiler"; }
      void on_step(Trainer& trainer, const train::StepInfo& info) override {
        if (info.step == 3) Tensor(trainer.model().named_parameters()[2].tensor).fill(std::nan(""));
      }
    };
    session.trainer().add(std::make_shared<Spoiler>());
    StrictRuntime runtime;
    EXPECT_ERROR("Error", "step 4: layer 3 (Linear)", session.run());
  }
}

}  // namespace
}  // namespace descent::test
