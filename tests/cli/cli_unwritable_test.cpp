// Standard error and standard output that can't be written: closed, full, or a log on a full disk. Messages are lost,
// but nothing else changes: neither the exit codes nor the files that the command writes.
#include <nlohmann/json.hpp>

#include "support/cli_run.h"

namespace descent::test {
namespace {

class Unwritable : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    data_ = write_quadrants(path("data"));
    write_model(path("mlp.json"), kMlp);
    ASSERT_EQ(run_cli(train("run", {"-q"})).code, 0);
    io::write_text(path("full.log"), std::string(kLimit, '.'));
    io::write_text(*dir_ / "damaged.safetensors", "rubbish");
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string path(const std::string& name) { return *dir_ / name; }
  static std::vector<std::string> train(const std::string& out, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"train",    "-m", path("mlp.json"), "-d",     data_, "--seed", "3",
                                      "--epochs", "2",  "--out",          path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // Ways in which standard error can be unusable; the log file has reached its size limit, as on a full disk.
  static std::map<std::string, RunOptions> ways() {
    std::map<std::string, RunOptions> ways;
    ways["closed"].err = "-";
    ways["full"].err = "/dev/full";
    ways["log"].err = path("full.log");
    ways["log"].file_limit = kLimit;
    return ways;
  }

  static constexpr std::uint64_t kLimit = 1U << 20U;
  static TempDir* dir_;
  static std::string data_;
};
TempDir* Unwritable::dir_ = nullptr;
std::string Unwritable::data_;

TEST_F(Unwritable, EveryMessageKeepsItsExitCode) {
  const std::string no_model = path("none.safetensors");
  const std::vector<std::pair<int, std::vector<std::string>>> rows = {
      {1, {}},
      {1, {"frobnicate"}},
      {1, {"train", "--epochs", "0"}},
      {1, train("run")},
      {1, train("none", {"--schedule", "cosine", "--warmup", "100000"})},
      {2, {"eval", "--model", path("damaged.safetensors"), "--data", data_}},
      {4, {"eval", "--model", no_model, "--data", data_}},
      {4, {"data", "fetch", "mnist", "--offline"}},
      {0, {"eval", "--model", path("run"), "--data", data_, "--json"}},
      {0, {"info"}},
      {0, {"--help"}},
      {7, train("nan", {"--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant", "--force"})},
  };
  for (const auto& [name, way] : ways()) {
    for (const auto& [code, words] : rows) {
      EXPECT_EQ(run_cli(words, way).code, code) << name << ": " << ::testing::PrintToString(words);
    }
  }
}

TEST_F(Unwritable, TrainingIsTheSame) {
  const std::string expected = io::sha256_hex(io::read_file(path("run/model.safetensors")));
  for (auto [name, way] : ways()) {
    const Ran ran = run_cli(train(name), way);
    ASSERT_EQ(ran.code, 0) << name;
    EXPECT_NE(ran.out.find("test accuracy"), std::string::npos) << name;
    EXPECT_EQ(io::sha256_hex(io::read_file(path(name) + "/model.safetensors")), expected) << name;
    // No message was written to a file that happened to reuse the number of the closed descriptor.
    std::istringstream lines(io::read_text(path(name) + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(nlohmann::json::accept(line)) << name << ": " << line;
    }
    way.out = "-";
    EXPECT_EQ(run_cli(train(name, {"--force"}), way).code, 4) << name;  // the result can't be printed
    EXPECT_EQ(io::sha256_hex(io::read_file(path(name) + "/model.safetensors")), expected) << name;
  }
}

// A checkpoint needs about 18 kB. Messages are lost, and the third failure still ends training.
TEST_F(Unwritable, ADiskThatIsFullOfRunAndLogEndsWithItsCode) {
  RunOptions way;
  way.file_limit = 8192;
  io::write_text(path("small.log"), std::string(8192, '.'));
  for (const std::string& err : {path("small.log"), std::string("/dev/full"), std::string("-")}) {
    way.err = err;
    EXPECT_EQ(run_cli(train("no-room", {"--epochs", "9", "--force"}), way).code, 4) << err;
  }
  EXPECT_EQ(io::read_text(path("small.log")).size(), 8192U);
}

TEST_F(Unwritable, ResultsThatCannotBePrintedAreAnError) {
  for (const char* out : {"-", "/dev/full"}) {
    RunOptions way;
    way.out = out;
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"--help"},
                                               {"--version"},
                                               {"train", "--help"},
                                               {"info"},
                                               {"inspect", "mlp", "--json"},
                                               {"data", "check", data_},
                                               {"predict", "--model", path("run"), "--data", data_, "0"},
                                               {"eval", "--model", path("run"), "--data", data_}}) {
      const Ran ran = run_cli(words, way);
      EXPECT_EQ(ran.code, 4) << out << ::testing::PrintToString(words);
      EXPECT_NE(ran.err.find("descent: standard output: write: "), std::string::npos) << ran.err;
    }
  }
}

// A report that can't be written does not suppress the result: it is printed, and the exit code tells of the failure.
TEST_F(Unwritable, AReportThatCannotBeWrittenDoesNotHideTheResult) {
  const auto size = [&](const char* file) { return std::filesystem::file_size(path("run/") + file); };
  RunOptions way;
  way.file_limit = (size("checkpoint-6.safetensors") + size("report.html")) / 2;
  ASSERT_LT(size("checkpoint-6.safetensors"), way.file_limit);
  const Ran ran = run_cli(train("no-report", {"--json"}), way);
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_TRUE(nlohmann::json::parse(ran.out).contains("test_accuracy")) << ran.out;
  EXPECT_NE(ran.err.find("write: File too large"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace descent::test
