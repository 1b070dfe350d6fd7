// `descent train` with the same seed gives the same bits in every process and for every number of threads, at the SIMD
// level in use (ctest runs this at several; levels may differ from each other). training_bits_test checks the same
// within one process; a new process also covers first use from several threads at once.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/cli_run.h"

namespace descent::test {
namespace {

struct TrainingBitsOfTheCommand : ::testing::Test {
  // The SHA-256 of the model after one epoch on the first `count` images.
  std::string train(const std::string& model, int count, int threads) {
    const Ran ran = run_cli({"train", "--data", data_, "--limit-train", std::to_string(count), "--epochs", "1",
                             "--seed", "1", "--batch-size", "50", "--model", model, "--threads",
                             std::to_string(threads), "--quiet", "--json", "--out", dir_ / std::to_string(++runs_)});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran.code == 0 ? nlohmann::json::parse(ran.out).at("sha256").get<std::string>() : "";
  }

  void expect_same_bits(const std::string& model, int count, int runs) {
    const std::string one = train(model, count, 1);
    EXPECT_NE(one, train(model, count - 50, 1)) << "these bits don't depend on the training";
    for (int run = 0; run < runs; ++run) {
      ASSERT_EQ(one, train(model, count, 8)) << model << " on 8 threads, run " << run;
    }
    ASSERT_EQ(one, train(model, count, 2)) << model << " on 2 threads";
    ASSERT_EQ(one, train(model, count, 1)) << model << " on 1 thread, another run";
  }

  TempDir dir_;
  int runs_ = 0;
  std::string data_ = write_idx(dir_ / "digits", data::synthetic_digits({.train = 600, .test = 50, .seed = 1}));
};

TEST_F(TrainingBitsOfTheCommand, Mlp) { expect_same_bits("mlp", 600, 10); }
TEST_F(TrainingBitsOfTheCommand, CnnWithBatchNormAndDropout) { expect_same_bits("cnn-bn", 150, 2); }

}  // namespace
}  // namespace descent::test
