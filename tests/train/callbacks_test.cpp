// Callbacks: progress, metrics, checkpoints, and the schedule that the trainer passes to them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "descent/error.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

using train::Trainer;
using train::TrainerOptions;

TEST(Callbacks, TheLearningRateOfEachStepIsTheSchedules) {
  class Rates : public train::Callback {
   public:
    std::string name() const override { return "rates"; }
    void on_step(Trainer&, const train::StepInfo& info) override {
      seen.push_back(info.learning_rate);
      total = info.total_steps;
    }
    std::vector<double> seen;
    std::int64_t total = 0;
  };
  Parts s;
  TrainerOptions options = small_options(2);
  options.learning_rate = [](std::int64_t step, std::int64_t steps) {
    return 0.001 * static_cast<double>(steps - step);
  };
  Trainer trainer(*s.model.module, *s.optimizer, options);
  const auto rates = std::make_shared<Rates>();
  trainer.add(rates);
  trainer.fit(quadrants(48));
  EXPECT_EQ(rates->total, 6);
  EXPECT_EQ(rates->seen, (std::vector<double>{0.001 * 6, 0.001 * 5, 0.001 * 4, 0.001 * 3, 0.001 * 2, 0.001}));
  EXPECT_ERROR("InvalidArgument", "rates", trainer.add(std::make_shared<Rates>()));
}

TEST(Callbacks, MetricsAreMeansOfTheirWindow) {
  const TempDir dir;
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(2));
  trainer.add(train::metrics_log(dir.path(), 2));
  const data::Dataset validation = quadrants(40, 2);
  const auto result = trainer.fit(quadrants(80), &validation);  // 5 steps per epoch: lines at 2, 4, 5 and epoch end
  std::istringstream lines(io::read_text(dir / "metrics.jsonl"));
  std::vector<nlohmann::json> records;
  for (std::string line; std::getline(lines, line);) records.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(records.size(), 8U);
  const auto step_of = [&](std::size_t i) { return records[i]["step"].get<int>(); };
  EXPECT_EQ(step_of(0), 2);
  EXPECT_EQ(step_of(1), 4);
  EXPECT_EQ(step_of(2), 5);
  EXPECT_EQ(records[3]["type"], "epoch");
  const double mean = (records[0]["loss"].get<double>() * 32 + records[1]["loss"].get<double>() * 32 +
                       records[2]["loss"].get<double>() * 16) /
                      80;
  EXPECT_NEAR(mean, result.epochs[0].train.loss, 1e-12);
  EXPECT_EQ(records[3]["val_loss"].get<double>(), result.epochs[0].validation.loss);
  EXPECT_NEAR(records[1]["epochs_done"].get<double>(), 0.8, 1e-12);
  std::istringstream csv(io::read_text(dir / "metrics.csv"));
  std::string header, first;
  std::getline(csv, header);
  std::getline(csv, first);
  EXPECT_EQ(header.substr(0, 28), "type,step,epoch,epochs_done,");
  EXPECT_EQ(first.substr(0, 9), "step,2,0,");
}

TEST(Callbacks, ProgressIsPlainWhereThereIsNoTerminal) {
  const TempDir dir;
  const int fd = open((dir / "out").c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_GE(fd, 0);
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(2));
  trainer.add(train::progress({.fd = fd}));
  trainer.fit(quadrants(64));
  close(fd);
  const std::string text = io::read_text(dir / "out");
  EXPECT_NE(text.find("epoch 1/2  loss "), std::string::npos) << text;
  EXPECT_NE(text.find("epoch 2/2  loss "), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Callbacks, ProgressIsABarOnATerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(fd, 0);
  for (const bool color : {true, false}) {
    setenv("TERM", "xterm", 1);
    color ? unsetenv("NO_COLOR") : setenv("NO_COLOR", "1", 1);
    const auto bar = train::progress({.fd = fd});
    Parts s;
    Trainer trainer(*s.model.module, *s.optimizer, small_options(2));
    bar->on_begin(trainer);
    train::StepInfo info;
    info.images = info.batch_images = 30;
    info.epoch_images = 60;
    info.synced = true;
    info.loss_sum = 15;
    info.num_correct = 27;
    info.num_examples = 30;
    std::this_thread::sleep_for(std::chrono::milliseconds(120));  // the bar is redrawn ten times a second
    bar->on_step(trainer, info);
    char buffer[4096];
    const ssize_t length = read(terminal, buffer, sizeof buffer);
    ASSERT_GT(length, 0);
    const std::string text(buffer, static_cast<std::size_t>(length));
    EXPECT_EQ(text[0], '\r') << text;
    EXPECT_NE(text.find("epoch 1/2"), std::string::npos) << text;
    EXPECT_NE(text.find(" 50 %"), std::string::npos) << text;
    EXPECT_NE(text.find("loss 0.5000  accuracy 90.00 %"), std::string::npos) << text;
    EXPECT_NE(text.find(" img/s  ETA 0:0"), std::string::npos) << text;
    EXPECT_EQ(text.find("\x1b[36m") != std::string::npos, color) << text;
  }
  unsetenv("NO_COLOR");
  close(fd);
  close(terminal);
}

TEST(Callbacks, AFailedSaveWarnsAndTheThirdInARowEnds) {
  const TempDir dir;
  io::write_text(dir / "file", "not a directory");
  std::vector<std::string> warnings;
  train::CheckpointOptions options;
  options.dir = dir / "file/sub";
  options.every_steps = 2;
  options.warn = [&](std::string_view line) { warnings.emplace_back(line); };
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(2));
  trainer.add(train::checkpoints(options));
  EXPECT_ERROR("IoError", "3 checkpoints in a row", trainer.fit(quadrants(160)));
  EXPECT_EQ(warnings.size(), 2U);
  EXPECT_EQ(trainer.step(), 6);
}

TEST(Callbacks, AFailureInBetweenIsForgiven) {
  const TempDir dir;
  int warnings = 0;
  train::CheckpointOptions options;
  options.dir = dir / "run";
  options.every_steps = 1;
  options.every_epochs = 0;
  options.warn = [&](std::string_view) { ++warnings; };
  class Breaker : public train::Callback {  // a file blocks the directory after two of three steps
   public:
    explicit Breaker(std::string path) : path_(std::move(path)) {}
    std::string name() const override { return "breaker"; }
    void on_step(Trainer&, const train::StepInfo& info) override {
      std::filesystem::remove_all(path_);
      if (info.step % 3 != 0) io::write_text(path_, "in the way");
    }

   private:
    std::string path_;
  };
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(1));
  trainer.add(std::make_shared<Breaker>(options.dir));
  trainer.add(train::checkpoints(options));
  EXPECT_EQ(trainer.fit(quadrants(144)).step, 9);
  EXPECT_EQ(warnings, 6);
}

TEST(Callbacks, ACheckpointOnRequestIsSavedAndAnnounced) {
  const TempDir dir;
  std::vector<std::string> saved;
  int asked = 0;
  train::CheckpointOptions options;
  options.dir = dir.path();
  options.keep = 10;
  options.requested = [&] { return ++asked == 3; };
  options.saved = [&](const std::string& path) { saved.push_back(path); };
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(1));
  trainer.add(train::checkpoints(options));
  EXPECT_EQ(trainer.fit(quadrants(80)).end, train::StopReason::finished);
  EXPECT_EQ(asked, 5);  // after every step
  EXPECT_EQ(saved, (std::vector<std::string>{dir / "checkpoint-3.safetensors", dir / "checkpoint-5.safetensors"}));
  EXPECT_EQ(dir.entries(), 2U);
}

// A log that can't be written for a while causes one warning and loses no lines.
TEST(Callbacks, MetricsThatCouldNotBeWrittenAreWrittenLater) {
  class Breaker : public train::Callback {  // a directory blocks the log during the first epoch
   public:
    explicit Breaker(std::string path) : path_(std::move(path)) {}
    std::string name() const override { return "breaker"; }
    void on_begin(Trainer&) override {
      std::filesystem::remove(path_);
      io::make_directories(path_);
    }
    void on_epoch(Trainer&, const train::EpochInfo& info) override {
      if (info.epoch == 0) std::filesystem::remove(path_);
    }

   private:
    std::string path_;
  };
  const TempDir dir;
  std::vector<std::string> warnings;
  Parts s;
  Trainer trainer(*s.model.module, *s.optimizer, small_options(3));
  trainer.add(train::metrics_log(dir.path(), 2, [&](std::string_view line) { warnings.emplace_back(line); }));
  trainer.add(std::make_shared<Breaker>(dir / "metrics.jsonl"));
  trainer.fit(quadrants(80));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("metrics.jsonl: append: Is a directory"), std::string::npos) << warnings[0];
  const std::string text = io::read_text(dir / "metrics.jsonl");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 12)
      << text;  // three lines of steps and one of the epoch, three times
  EXPECT_TRUE(text.starts_with("{")) << text;
}

// The state that a callback saves may be any bytes.
TEST(Callbacks, TheStateOfCallbacksIsBytes) {
  class Keeper : public train::Callback {
   public:
    std::string name() const override { return "keeper"; }
    std::string save() const override { return state; }
    void restore(const std::string& text) override { state = text; }
    std::string state;
  };
  const TempDir dir;
  for (const std::string& state :
       {std::string("plain"), std::string("\xE6\x95\xB0"), std::string("a\0\xFF\xC3(\n", 6)}) {
    const auto first = std::make_shared<Keeper>();
    const auto second = std::make_shared<Keeper>();
    first->state = state;
    Parts a, b;
    Trainer from(*a.model.module, *a.optimizer, small_options(1));
    from.add(first);
    io::save_checkpoint(dir.path(), 0, from.state_dict());
    Trainer to(*b.model.module, *b.optimizer, small_options(1));
    to.add(second);
    to.load_state_dict(io::latest_valid_checkpoint(dir.path()).file);
    EXPECT_EQ(second->state, state);
  }
}

}  // namespace
}  // namespace descent::test
