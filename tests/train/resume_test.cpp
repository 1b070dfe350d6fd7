// A resumed training gives the same bits as an uninterrupted one, wherever it stopped, and every field of a
// checkpoint is needed for that: if any one is missing or reset, resuming is refused or ends differently.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "descent/error.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;
using train::Trainer;
using train::TrainerOptions;

// Stores every epoch's record, which depends on the running sums and the best result so far.
class Recorder : public train::Callback {
 public:
  std::string name() const override { return "recorder"; }
  void on_epoch(Trainer&, const train::EpochInfo& info) override {
    text_ += Json{info.epoch,           info.step, info.train.loss,   info.train.accuracy, info.train.count,
                  info.validation.loss, info.best, info.learning_rate}
                 .dump();
  }
  void on_end(Trainer& trainer, train::StopReason) override { last_ = bits_of(io::state_dict(trainer.model())); }
  std::string save() const override { return text_; }
  void restore(const std::string& text) override { text_ = text; }
  const std::string& text() const { return text_; }
  const Bits& last() const { return last_; }  // before the best weights are restored

 private:
  std::string text_;
  Bits last_;
};

struct Outcome {
  Bits model, last;
  std::string epochs;
  std::int64_t step = 0;
  train::StopReason end{};
  bool operator==(const Outcome&) const = default;
};

struct Case {
  std::string rule = "adam";
  std::int64_t accumulation_steps = 1;
  std::int64_t patience = 0;
  bool keep_best = true;
  std::int64_t epochs = 4;
};

// One process's share of a training: from `from` (or the start) to step `stop` (or the end).
class Session {
 public:
  explicit Session(const Case& c) : parts_(kStateful, c.rule.c_str(), DType::f32, 0.02) {
    parts_.model.module->seed(11);
    TrainerOptions options = small_options(c.epochs);
    options.accumulation_steps = c.accumulation_steps;
    options.keep_best = c.keep_best;
    options.patience = c.patience;
    options.label_smoothing = 0.1;
    options.clip_norm = 5;
    // The rate falls, then jumps so far that no later epoch can be the best, however the rounding turns out.
    options.learning_rate = [](std::int64_t step, std::int64_t steps) {
      return step * 2 < steps ? 0.02 / (1 + 0.1 * static_cast<double>(step)) : 5;
    };
    options.should_stop = [this] { return trainer_->step() == stop_; };
    trainer_ = std::make_unique<Trainer>(*parts_.model.module, *parts_.optimizer, options);
    recorder_ = std::make_shared<Recorder>();
    trainer_->add(recorder_);
  }

  Outcome run(std::int64_t stop = -1) {
    static const data::Dataset images = quadrants(104);  // 7 batches, the last one short
    static const data::Dataset validation = quadrants(40, 2);
    stop_ = stop;
    const auto result = trainer_->fit(images, &validation);
    return {bits_of(io::state_dict(*parts_.model.module)), recorder_->last(), recorder_->text(), result.step,
            result.end};
  }
  // Encoded and decoded as a file would be, so that no handle to a live tensor survives.
  io::TensorFile saved() { return io::decode_tensors(io::encode_tensors(trainer_->state_dict()), "memory"); }
  void restore(const io::TensorFile& file) { trainer_->load_state_dict(file); }
  Trainer& trainer() { return *trainer_; }

 private:
  Parts parts_;
  std::unique_ptr<Trainer> trainer_;
  std::shared_ptr<Recorder> recorder_;
  std::int64_t stop_ = -1;
};

io::TensorFile checkpoint_at(const Case& c, std::int64_t step) {
  Session session(c);
  const Outcome outcome = session.run(step);
  EXPECT_EQ(outcome.end, train::StopReason::interrupted);
  EXPECT_EQ(outcome.step, step);
  return session.saved();
}

class ResumeBits : public ::testing::TestWithParam<Case> {};

TEST_P(ResumeBits, AreThoseOfARunThatNeverStopped) {
  Session whole(GetParam());
  const Outcome expected = whole.run();
  for (std::int64_t stop = 1; stop < expected.step; ++stop) {
    Session rest(GetParam());
    rest.restore(checkpoint_at(GetParam(), stop));
    ASSERT_EQ(rest.run(), expected) << "stopped at step " << stop;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, ResumeBits,
                         ::testing::Values(Case{}, Case{.rule = "sgd"}, Case{.rule = "rmsprop", .keep_best = false},
                                           Case{.rule = "adamw", .accumulation_steps = 3},
                                           Case{.patience = 1, .epochs = 6}),
                         [](const auto& info) {
                           return info.param.rule + (info.param.patience > 0 ? "_early_stop" : "") +
                                  (info.param.accumulation_steps > 1 ? "_accumulate" : "");
                         });

TEST(Resume, StoppedManyTimesIsStillTheSame) {
  Session whole{Case{}};
  const Outcome expected = whole.run();
  auto session = std::make_unique<Session>(Case{});
  for (std::int64_t stop = 2; stop < expected.step; stop += 3) {
    session->run(stop);
    const io::TensorFile saved = session->saved();
    session = std::make_unique<Session>(Case{});
    session->restore(saved);
  }
  EXPECT_EQ(session->run(), expected);
}

TEST(Resume, AFinishedTrainingEndsAtOnceWithTheSameWeights) {
  Session whole{Case{}};
  const Outcome expected = whole.run();
  Session again{Case{}};
  again.restore(whole.saved());
  const Outcome outcome = again.run();
  EXPECT_EQ(outcome.model, expected.model);
  EXPECT_EQ(outcome.epochs, expected.epochs);
  EXPECT_EQ(outcome.step, expected.step);
}

// ---- every field is needed ----

struct Damage {
  std::string name;
  std::function<void(io::TensorFile&)> apply;
};

Damage no_tensor(const std::string& name) {
  return {"without " + name, [=](io::TensorFile& file) {
            const auto removed = std::erase_if(file.tensors, [&](const auto& entry) { return entry.first == name; });
            if (removed != 1) throw std::runtime_error("the checkpoint has no tensor " + name);
          }};
}
Damage zero_tensor(const std::string& name) {
  return {"zeroed " + name, [=](io::TensorFile& file) {
            for (auto& [key, tensor] : file.tensors) {
              if (key == name) return tensor.fill(0);
            }
            throw std::runtime_error("the checkpoint has no tensor " + name);
          }};
}
Damage no_field(const std::string& name) {
  return {"without field " + name, [=](io::TensorFile& file) {
            Json fields = Json::parse(file.metadata.at("trainer"));
            if (fields.erase(name) != 1) throw std::runtime_error("the checkpoint has no field " + name);
            file.metadata["trainer"] = fields.dump();
          }};
}
Damage reset_field(const std::string& name, const Json& value) {
  return {"reset field " + name, [=](io::TensorFile& file) {
            Json fields = Json::parse(file.metadata.at("trainer"));
            if (fields.at(name) == value) throw std::runtime_error("the reset changes nothing: " + name);
            fields[name] = value;
            file.metadata["trainer"] = fields.dump();
          }};
}

TEST(Resume, EveryFieldOfACheckpointIsNeeded) {
  const Case c;
  Session whole(c);
  const Outcome expected = whole.run();
  const std::int64_t stop = 17;  // in the third epoch: a best one is known and the running sums are not 0
  const io::TensorFile good = checkpoint_at(c, stop);
  {
    Session rest(c);
    rest.restore(good);
    ASSERT_EQ(rest.run(), expected);
  }
  std::vector<Damage> damages;
  std::size_t tensors = 0;
  for (const auto& [name, tensor] : good.tensors) {
    damages.push_back(no_tensor(name));
    damages.push_back(zero_tensor(name));
    ++tensors;
  }
  EXPECT_GE(tensors, 8U + 3U + 1U);  // 4 parameters, 2 + 1 buffers and the best ones; moments and steps; a counter
  for (const char* field : {"step", "epoch", "batch", "loss_sum", "hits", "seen"}) {
    damages.push_back(no_field(field));
    damages.push_back(reset_field(field, 0));
  }
  damages.push_back(no_field("best_loss"));
  damages.push_back(reset_field("best_loss", 1e9));
  damages.push_back(no_field("best_epoch"));
  damages.push_back(reset_field("best_epoch", -1));
  damages.push_back(no_field("since_best"));
  damages.push_back(no_field("train_size"));
  damages.push_back(no_field("settings"));
  damages.push_back(reset_field("callbacks", Json::object()));
  for (const Damage& damage : damages) {
    io::TensorFile file = io::decode_tensors(io::encode_tensors(good), "memory");
    damage.apply(file);
    Session rest(c);
    bool refused = false;
    Outcome outcome;
    try {
      rest.restore(file);
      outcome = rest.run();
    } catch (const Error&) {
      refused = true;
    }
    EXPECT_TRUE(refused || outcome != expected) << damage.name << " made no difference";
  }
}

TEST(Resume, TheEpochsWithoutABetterOneAreNeeded) {
  const Case c{.patience = 2, .epochs = 9};
  Session whole(c);
  const Outcome expected = whole.run();
  ASSERT_EQ(expected.end, train::StopReason::early_stop);
  const std::int64_t last_epoch = expected.step - 3;  // in the last epoch: one has passed without a better loss
  const io::TensorFile good = checkpoint_at(c, last_epoch);
  io::TensorFile reset = io::decode_tensors(io::encode_tensors(good), "memory");
  reset_field("since_best", 0).apply(reset);
  Session rest(c), other(c);
  rest.restore(good);
  other.restore(reset);
  EXPECT_EQ(rest.run(), expected);
  EXPECT_NE(other.run().step, expected.step);
}

// ---- refusals ----

TEST(Resume, RefusesAnotherTrainingAndChangesNothing) {
  const io::TensorFile good = checkpoint_at(Case{}, 5);
  const auto refuses = [&](const char* what, const Case& c) {
    Session session(c);
    const auto before = bits_of(session.trainer().state_dict());
    EXPECT_ERROR("InvalidArgument", what, session.restore(good));
    EXPECT_EQ(bits_of(session.trainer().state_dict()), before);
  };
  refuses("optimizer", Case{.rule = "sgd"});
  refuses("accumulate", Case{.accumulation_steps = 2});
  refuses("keep_best", Case{.keep_best = false});
}

TEST(Resume, RefusesAnotherNumberOfImages) {
  const io::TensorFile good = checkpoint_at(Case{}, 5);
  Session session{Case{}};
  session.restore(good);
  const data::Dataset other = quadrants(96);
  EXPECT_ERROR("InvalidArgument", "96 training images", session.trainer().fit(other));
}

TEST(Resume, RefusesWhatIsNoCheckpoint) {
  Session session{Case{}};
  EXPECT_ERROR("InvalidArgument", "not a checkpoint", session.restore({}));
  io::TensorFile file = checkpoint_at(Case{}, 5);
  file.metadata["trainer"] = "{";
  EXPECT_ERROR("FormatError", "JSON", session.restore(file));
  file = checkpoint_at(Case{}, 5);
  reset_field("step", -3).apply(file);
  EXPECT_ERROR("InvalidArgument", "negative", session.restore(file));
  file = checkpoint_at(Case{}, 5);
  reset_field("hits", "many").apply(file);
  EXPECT_ERROR("InvalidArgument", "trainer", session.restore(file));
}

// Optimizer state that doesn't fit is detected after the weights were loaded: they are restored.
TEST(Resume, AHalfFittingCheckpointLeavesTheModelAlone) {
  io::TensorFile file = checkpoint_at(Case{}, 5);
  for (auto& [name, tensor] : file.tensors) {
    if (name == "optimizer.exp_avg") tensor = Tensor::zeros({3});
  }
  Session session{Case{}};
  const auto before = bits_of(session.trainer().state_dict());
  EXPECT_ERROR("InvalidArgument", "", session.restore(file));
  EXPECT_EQ(bits_of(session.trainer().state_dict()), before);
}

// ---- files ----

TEST(Resume, MetricsFilesHaveNoLineTwiceAndNoneMissing) {
  const auto lines_of = [](const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      Json record = Json::parse(line);
      record.erase("images_per_second");
      lines.push_back(record.dump());
    }
    return lines;
  };
  const auto run = [&](const std::string& dir, std::int64_t stop, std::int64_t killed_at) {
    Session first{Case{}};
    first.trainer().add(train::metrics_log(dir, 2));
    first.run(stop);
    if (stop < 0) return lines_of(io::read_text(dir + "/metrics.jsonl"));
    const io::TensorFile saved = first.saved();
    first.run(killed_at);  // continues past its checkpoint, as a process does before it is killed
    Session second{Case{}};
    second.trainer().add(train::metrics_log(dir, 2));
    second.restore(saved);
    second.run();
    return lines_of(io::read_text(dir + "/metrics.jsonl"));
  };
  const TempDir dir;
  const auto expected = run(dir / "whole", -1, -1);
  EXPECT_GE(expected.size(), 16U);
  for (const std::int64_t stop : {3, 6, 7, 12, 14}) {
    EXPECT_EQ(run(dir / std::to_string(stop), stop, stop + 9), expected) << "stopped at step " << stop;
  }
}

TEST(Resume, ADamagedCheckpointIsPassedOver) {
  const TempDir dir;
  train::CheckpointOptions options;
  options.dir = dir.path();
  options.every_steps = 2;
  Session whole{Case{}};
  const Outcome expected = whole.run();
  Session first{Case{}};
  first.trainer().add(train::checkpoints(options));
  first.run(9);
  auto bytes = io::read_file(dir / "checkpoint-9.safetensors");
  bytes[bytes.size() - 5] ^= std::byte{1};
  io::write_file(dir / "checkpoint-9.safetensors", bytes);
  const io::FoundCheckpoint found = io::latest_valid_checkpoint(dir.path());
  EXPECT_EQ(found.step, 8);
  ASSERT_EQ(found.damaged.size(), 1U);
  EXPECT_NE(found.damaged[0].reason.find("checkpoint-9"), std::string::npos);
  Session second{Case{}};
  second.trainer().add(train::checkpoints(options));
  second.restore(found.file);
  EXPECT_EQ(second.run(), expected);
}

TEST(Resume, CheckpointsAreKeptAndPruned) {
  const TempDir dir;
  train::CheckpointOptions options;
  options.dir = dir.path();
  options.every_steps = 3;
  options.keep = 2;
  Session session{Case{}};
  session.trainer().add(train::checkpoints(options));
  session.run();
  EXPECT_EQ(dir.entries(), 2U);
  EXPECT_EQ(io::latest_valid_checkpoint(dir.path()).step, 28);
}

TEST(Resume, MetricsLinesOfAnotherKindArePassedOver) {
  const TempDir dir;
  io::write_text(dir / "metrics.jsonl",
                 "{\"type\": \"step\", \"step\": \"two\"}\n[1]\n{\"type\": 3}\n{\"type\": \"epoch\"}\n\xFF\n");
  Session first{Case{}};
  first.run(3);
  Session second{Case{}};
  second.trainer().add(train::metrics_log(dir.path(), 2));
  second.restore(first.saved());
  second.run();
  EXPECT_TRUE(io::read_text(dir / "metrics.jsonl").starts_with("{\"accuracy\""));
}

}  // namespace
}  // namespace descent::test
