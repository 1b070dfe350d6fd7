// Signals during a training: some save and stop, some save and continue, ignored ones stay ignored.
#include "support/cli_run.h"

namespace descent::test {
namespace {

class Signals : public ::testing::Test {
 protected:
  Signals() : data_(write_quadrants(path("data"))) { write_model(path("model.json"), kStateful); }

  std::string path(const std::string& name) const { return dir_ / name; }
  std::vector<std::string> quick(const std::string& out) const {  // 20 steps per epoch
    return {"train",    "-m", path("model.json"),   "-d", data_, "--batch-size", "16",     "--seed", "3",
            "--epochs", "60", "--checkpoint-every", "10", "-q",  "--out",        path(out)};
  }
  std::vector<std::string> slow(const std::string& out) const { return slow_training(dir_, path(out)); }
  bool has_begun(const std::string& out) const { return std::filesystem::exists(path(out) + "/metrics.csv"); }
  std::int64_t saved(const std::string& out) const { return io::latest_valid_checkpoint(path(out)).step; }
  std::string sha(const std::string& out) const {
    return io::sha256_hex(io::read_file(path(out) + "/model.safetensors"));
  }

  TempDir dir_;
  std::string data_;
};

TEST_F(Signals, HangUpSavesAndEndsLikeTermination) {
  ASSERT_EQ(run_cli(quick("calm")).code, 0);
  Process process(quick("run"));
  ASSERT_TRUE(wait_until(process, [&] { return saved("run") > 0; })) << process.errors_so_far();
  process.send(SIGHUP);
  const Ran stopped = process.wait();
  ASSERT_EQ(stopped.code, 128 + SIGHUP) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume --out " + path("run")), std::string::npos) << stopped.err;
  ASSERT_EQ(run_cli({"train", "--resume", "--out", path("run"), "-q"}).code, 0);
  EXPECT_EQ(sha("run"), sha("calm"));
}

// When a terminal closes, both the kernel and the shell send SIGHUP.
TEST_F(Signals, ASecondHangUpIsNotImpatience) {
  Process process(slow("run"));
  ASSERT_TRUE(wait_until(process, [&] { return has_begun("run"); })) << process.errors_so_far();
  process.send(SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  process.send(SIGHUP);
  EXPECT_EQ(process.wait().code, 128 + SIGHUP);
  EXPECT_GE(saved("run"), 1);
}

// Only checkpoints within an epoch count: the end of an epoch saves one without a signal.
TEST_F(Signals, UserSignalSavesAndGoesOn) {
  Process process(slow_training(dir_, path("run"), {"--keep", "1000"}));
  const auto saved_within_epochs = [&] {
    std::int64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path("run"))) {
      const std::string name = entry.path().filename();
      if (!name.starts_with("checkpoint-")) continue;
      if (std::stoll(name.substr(11)) % kSlowEpochSteps != 0) ++count;
    }
    return count;
  };
  ASSERT_TRUE(wait_until(process, [&] { return has_begun("run"); })) << process.errors_so_far();
  process.send(SIGUSR1);
  ASSERT_TRUE(wait_until(process, [&] { return saved_within_epochs() == 1; })) << process.errors_so_far();
  process.send(SIGUSR1);
  ASSERT_TRUE(wait_until(process, [&] { return saved_within_epochs() == 2; })) << process.errors_so_far();
  EXPECT_TRUE(process.running());
  process.send(SIGINT);
  EXPECT_EQ(process.wait().code, 128 + SIGINT);
}

// nohup, or a shell that starts a job in the background.
TEST_F(Signals, WhatWasIgnoredStaysIgnored) {
  RunOptions deaf;
  deaf.ignored = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
  Process process(quick("run"), deaf);
  ASSERT_TRUE(wait_until(process, [&] { return saved("run") > 0; })) << process.errors_so_far();
  for (const int signal : deaf.ignored) process.send(signal);
  const Ran ran = process.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(saved("run"), 1200);
}

TEST_F(Signals, OneThatIsNotIgnoredStillWorksBesideOneThatIs) {
  RunOptions nohup;
  nohup.ignored = {SIGHUP};
  Process process(quick("run"), nohup);
  ASSERT_TRUE(wait_until(process, [&] { return saved("run") > 0; })) << process.errors_so_far();
  process.send(SIGHUP);
  process.send(SIGTERM);
  EXPECT_EQ(process.wait().code, 128 + SIGTERM);
}

TEST_F(Signals, HelpSaysWhatTheyDo) {
  const Ran ran = run_cli({"train", "--help"});
  EXPECT_NE(ran.out.find("SIGHUP"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("SIGUSR1"), std::string::npos) << ran.out;
}

}  // namespace
}  // namespace descent::test
