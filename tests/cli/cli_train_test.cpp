// Successful runs of the command: what it prints and writes, and that the same seed gives the same file for any number
// of threads and however often it was stopped, killed and resumed.
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;

class Cli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    data_ = write_quadrants(*dir_ / "data");
    write_model(*dir_ / "model.json", kStateful);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string path(const std::string& name) { return *dir_ / name; }
  // 20 batches per epoch.
  static std::vector<std::string> train(const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"train", "-m",    path("model.json"), "-d", data_, "--batch-size", "16", "--seed",
                                      "3",     "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static std::string sha(const std::string& out) {
    return io::sha256_hex(io::read_file(path(out) + "/model.safetensors"));
  }

  static TempDir* dir_;
  static std::string data_;
};
TempDir* Cli::dir_ = nullptr;
std::string Cli::data_;

TEST_F(Cli, VersionAndHelp) {
  const Ran version = run_cli({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(std::regex_match(version.out, std::regex(R"(descent \d+\.\d+\.\d+\n)"))) << version.out;
  const Ran help = run_cli({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"train", "eval", "predict", "gradcheck", "inspect", "info", "data", "bench"}) {
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
    const Ran one = run_cli({command, "--help"});
    EXPECT_EQ(one.code, 0) << command;
    EXPECT_NE(one.out.find("Examples:\n  descent " + std::string(command)), std::string::npos) << one.out;
    EXPECT_EQ(one.err, "") << command;
  }
}

TEST_F(Cli, ARunFolderHoldsEverything) {
  const Ran ran = run_cli(train("full", {"--epochs", "4", "--validation", "0.2", "--metrics-every", "5"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("test accuracy "), std::string::npos) << ran.out;
  EXPECT_NE(ran.err.find("epoch 4/4"), std::string::npos) << ran.err;
  EXPECT_EQ((ran.out + ran.err).find('\x1b'), std::string::npos);
  const std::string run = path("full");
  const Json config = Json::parse(io::read_text(run + "/config.json"));
  EXPECT_EQ(config["options"]["batch_size"], 16);
  EXPECT_EQ(config["model"]["name"], "stateful");
  EXPECT_EQ(config["dataset"]["train"], 320);
  std::istringstream metrics(io::read_text(run + "/metrics.jsonl"));
  int epochs = 0, steps = 0;
  for (std::string line; std::getline(metrics, line);) {
    const Json record = Json::parse(line);
    (record["type"] == "epoch" ? epochs : steps) += 1;
    EXPECT_EQ(record.contains("val_accuracy"), record["type"] == "epoch");
  }
  EXPECT_EQ(epochs, 4);
  EXPECT_EQ(steps, 4 * 4);  // 256 images: 16 steps per epoch, lines at 5, 10, 15 and the last step
  EXPECT_EQ(io::latest_valid_checkpoint(run).step, 64);
  const train::LoadedModel model = train::load_model(run + "/model.safetensors");
  EXPECT_EQ(model.info.class_names.size(), 4U);
  const std::string report = io::read_text(run + "/report.html");
  EXPECT_NE(report.find("<svg"), std::string::npos);
  EXPECT_NE(report.find("data:image/png;base64,"), std::string::npos);
  EXPECT_NE(report.find("validation"), std::string::npos);
}

TEST_F(Cli, JsonIsOneObjectAndNothingElse) {
  const Ran ran = run_cli(train("json", {"--epochs", "2", "--json"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Json trained = Json::parse(ran.out);
  EXPECT_EQ(trained["sha256"], sha("json"));
  EXPECT_EQ(trained["steps"], 40);
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1);
  const Ran eval = run_cli({"eval", "--model", path("json"), "--data", data_, "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  const Json evaluation = Json::parse(eval.out);
  EXPECT_EQ(evaluation["accuracy"], trained["test_accuracy"]);
  EXPECT_EQ(evaluation["loss"], trained["test_loss"]);
  EXPECT_EQ(evaluation["images"], 80);
  std::int64_t total = 0;
  for (const Json& row : evaluation["confusion"]) {
    for (const Json& cell : row) total += cell.get<std::int64_t>();
  }
  EXPECT_EQ(total, 80);
  EXPECT_EQ(evaluation["classes"].size(), 4U);
  const Ran predict = run_cli({"predict", "--model", path("json"), "--data", data_, "--json", "0", "5"});
  ASSERT_EQ(predict.code, 0) << predict.err;
  const Json predictions = Json::parse(predict.out)["predictions"];
  ASSERT_EQ(predictions.size(), 2U);
  double sum = 0;
  for (const Json& p : predictions[1]["probabilities"]) sum += p.get<double>();
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_EQ(predictions[1]["label"], 1);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"inspect", "cnn", "--json"},
           {"inspect", path("json"), "--json"},
           {"info", "--json"},
           {"data", "check", data_, "--json"},
           {"data", "fetch", data_, "--json"},
           {"bench", "--op", "cross_entropy", "--json"},
           {"bench", "--train", "mlp", "--steps", "1", "--blocks", "1", "--data", "synthetic", "--json"},
           {"bench", "--infer", "mlp", "--steps", "1", "--blocks", "1", "--data", "synthetic", "--json"}}) {
    const Ran other = run_cli(words);
    EXPECT_EQ(other.code, 0) << words[0] << other.err;
    EXPECT_TRUE(Json::parse(other.out, nullptr, false).is_object()) << words[0] << other.out;
  }
}

TEST_F(Cli, TheModelIsTheSameForAnyNumberOfThreads) {
  for (const char* threads : {"1", "2", "4"}) {
    ASSERT_EQ(run_cli(train(std::string("threads") + threads, {"--epochs", "3", "-q", "--threads", threads})).code, 0);
  }
  EXPECT_EQ(sha("threads1"), sha("threads2"));
  EXPECT_EQ(sha("threads1"), sha("threads4"));
  ASSERT_EQ(run_cli(train("seed4", {"--epochs", "3", "-q", "--seed", "4"})).code, 0);
  EXPECT_NE(sha("threads1"), sha("seed4"));
}

TEST_F(Cli, MixedPrecisionTrainsResumesAndEvaluates) {
  const std::vector<std::string> mixed = {"--epochs", "3", "--schedule", "constant", "--precision", "bf16", "--json"};
  const Ran ran = run_cli(train("mixed", mixed));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("warning: bf16 on the CPU"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("activations in bf16"), std::string::npos) << ran.err;
  ASSERT_EQ(run_cli(train("f32", {"--epochs", "3", "-q", "--schedule", "constant"})).code, 0);
  EXPECT_NE(sha("mixed"), sha("f32"));
  const Json trained = Json::parse(ran.out);
  EXPECT_GT(trained["test_accuracy"], 0.9);
  const Ran eval = run_cli({"eval", "--model", path("mixed"), "--data", data_, "--precision", "bf16", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(Json::parse(eval.out)["loss"], trained["test_loss"]);
  // A resumed run keeps its precision, and its weights are f32.
  ASSERT_EQ(run_cli(train("short", {"--epochs", "2", "-q", "--schedule", "constant", "--precision", "bf16"})).code, 0);
  ASSERT_EQ(run_cli({"train", "--resume", "--out", path("short"), "--epochs", "3", "-q"}).code, 0);
  EXPECT_EQ(sha("short"), sha("mixed"));
  EXPECT_EQ(run_cli({"inspect", path("mixed")}).out.find("bf16"), std::string::npos);
}

TEST_F(Cli, AnExistingRunIsOnlyReplacedByForce) {
  ASSERT_EQ(run_cli(train("twice", {"--epochs", "1", "-q"})).code, 0);
  io::write_text(path("twice") + "/notes.txt", "mine");
  EXPECT_EQ(run_cli(train("twice", {"--epochs", "1", "-q"})).code, 1);
  // A refused command leaves the old run unchanged.
  const std::string before = sha("twice");
  EXPECT_EQ(run_cli(train("twice", {"--force", "--device", "gpu"})).code, 1);
  EXPECT_EQ(run_cli(train("twice", {"--force", "--dtype", "f64", "--precision", "bf16"})).code, 1);
  EXPECT_NE(run_cli(train("twice", {"--force", "--model", "nothing.json"})).code, 0);
  EXPECT_NE(run_cli(train("twice", {"--force", "--data", "/nothing"})).code, 0);
  EXPECT_EQ(run_cli(train("twice", {"--force", "--schedule", "cosine", "--warmup", "100000"})).code, 1);
  EXPECT_EQ(sha("twice"), before);
  EXPECT_EQ(run_cli(train("twice", {"--epochs", "2", "-q", "--force"})).code, 0);
  EXPECT_EQ(io::read_text(path("twice") + "/notes.txt"), "mine");
  EXPECT_EQ(io::latest_valid_checkpoint(path("twice")).step, 40);
  EXPECT_FALSE(std::filesystem::exists(path("twice") + "/checkpoint-20.safetensors") &&
               io::load_tensors(path("twice") + "/checkpoint-20.safetensors").metadata.empty());
}

// Waits until the run has a checkpoint to resume from.
bool wait_for_checkpoint(const Process& process, const std::string& run) {
  for (int i = 0; i < 2000 && process.running(); ++i) {
    if (!io::latest_valid_checkpoint(run).path.empty()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

TEST_F(Cli, SignalsSaveAndEndWithTheirCode) {
  const std::vector<std::string> length = {"--epochs", "60", "--checkpoint-every", "10", "-q"};
  ASSERT_EQ(run_cli(train("calm", length)).code, 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string name = "signal" + std::to_string(signal);
    std::vector<std::string> words = train(name, length);
    Process process(words);
    ASSERT_TRUE(wait_for_checkpoint(process, path(name))) << process.errors_so_far();
    process.send(signal);
    const Ran stopped = process.wait();
    ASSERT_EQ(stopped.code, 128 + signal) << stopped.err;
    EXPECT_NE(stopped.err.find("--resume --out " + path(name)), std::string::npos) << stopped.err;
    EXPECT_FALSE(std::filesystem::exists(path(name) + "/model.safetensors"));
    const Ran resumed = run_cli({"train", "--resume", "--out", path(name)});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_NE(resumed.err.find("resume  "), std::string::npos) << resumed.err;
    EXPECT_EQ(sha(name), sha("calm"));
  }
}

TEST_F(Cli, ASecondSignalEndsAtOnce) {
  // A step takes half a second or more: the first signal waits for the end of the step, the second one does not.
  Process process({"train", "-m", "cnn", "-d", "synthetic", "--batch-size", "8000", "--epochs", "5", "--threads", "1",
                   "--out", path("impatient")});
  for (int i = 0; i < 4000 && process.running(); ++i) {
    if (std::filesystem::exists(path("impatient") + "/metrics.csv")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  process.send(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  process.send(SIGTERM);
  const Ran ran = process.wait();
  EXPECT_EQ(ran.code, 128 + SIGTERM) << ran.err;
  EXPECT_EQ(ran.err.find("stopped at step"), std::string::npos) << ran.err;
  EXPECT_EQ(io::latest_valid_checkpoint(path("impatient")).step, -1);
}

std::set<std::string> metrics_without_rates(const std::string& run) {
  std::set<std::string> lines;
  std::istringstream in(io::read_text(run + "/metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    Json record = Json::parse(line);
    record.erase("images_per_second");
    EXPECT_TRUE(lines.insert(record.dump()).second) << "twice: " << line;
  }
  return lines;
}

// Kills a training at random moments and resumes it each time; returns how often it was killed.
int kill_and_resume(const std::vector<std::string>& first, const std::string& run, int kills, Scramble& random,
                    int longest_ms) {
  int killed = 0;
  for (int i = 0; i < kills; ++i) {
    Process process(i == 0 ? first : std::vector<std::string>{"train", "--resume", "--out", run, "-q"});
    std::this_thread::sleep_for(
        std::chrono::milliseconds(20 + static_cast<int>(random.below(static_cast<std::size_t>(longest_ms)))));
    killed += process.running() ? 1 : 0;
    process.send(SIGKILL);
    const Ran ran = process.wait();
    EXPECT_TRUE(ran.code == 137 || ran.code == 0) << ran.code << ran.err;
    if (!std::filesystem::exists(run + "/config.json")) --i;  // killed before the run started
  }
  const Ran last = run_cli({"train", "--resume", "--out", run, "-q"});
  EXPECT_EQ(last.code, 0) << last.err;
  return killed;
}

TEST_F(Cli, KilledAndResumedIsTheSameModel) {
  const std::vector<std::string> length = {"--epochs",     "40",  "--checkpoint-every", "7", "-q",
                                           "--validation", "0.1", "--metrics-every",    "9"};
  ASSERT_EQ(run_cli(train("unbroken", length)).code, 0);
  Scramble random(7);
  EXPECT_GE(kill_and_resume(train("broken", length), path("broken"), 5, random, 250), 1);
  EXPECT_EQ(sha("broken"), sha("unbroken"));
  EXPECT_EQ(metrics_without_rates(path("broken")), metrics_without_rates(path("unbroken")));
}

TEST_F(Cli, KilledAtTwentyMomentsIsTheSameModelSlow) {
  const std::vector<std::string> words = {
      "train", "-m",           "cnn-bn", "-d",     "synthetic", "--limit-train",
      "3000",  "--epochs",     "3",      "--seed", "2",         "--checkpoint-every",
      "3",     "--validation", "0.1",    "-q",     "--out"};
  std::vector<std::string> unbroken = words, broken = words;
  unbroken.push_back(path("cnn-unbroken"));
  broken.push_back(path("cnn-broken"));
  ASSERT_EQ(run_cli(unbroken).code, 0);
  Scramble random(11);
  EXPECT_GE(kill_and_resume(broken, path("cnn-broken"), 20, random, 1500), 10);
  EXPECT_EQ(sha("cnn-broken"), sha("cnn-unbroken"));
}

TEST_F(Cli, ADamagedCheckpointIsNamedAndTheOneBeforeItIsUsed) {
  const std::vector<std::string> length = {"--epochs", "4", "-q"};
  ASSERT_EQ(run_cli(train("sound", length)).code, 0);
  ASSERT_EQ(run_cli(train("scratched", length)).code, 0);
  const std::string newest = path("scratched") + "/checkpoint-80.safetensors";
  Bytes bytes = io::read_file(newest);
  bytes[bytes.size() / 2 + 4000] ^= std::byte{4};
  io::write_file(newest, bytes);
  std::filesystem::remove(path("scratched") + "/model.safetensors");
  const Ran ran = run_cli({"train", "--resume", "--out", path("scratched")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("warning: passed over a damaged checkpoint: " + newest), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("checkpoint-60.safetensors, step 60"), std::string::npos) << ran.err;
  EXPECT_EQ(sha("scratched"), sha("sound"));
}

TEST_F(Cli, ResumeMayGoOnForMoreEpochs) {
  ASSERT_EQ(run_cli(train("longer", {"--epochs", "2", "-q", "--schedule", "constant"})).code, 0);
  ASSERT_EQ(run_cli(train("straight", {"--epochs", "5", "-q", "--schedule", "constant"})).code, 0);
  ASSERT_EQ(run_cli({"train", "--resume", "--out", path("longer"), "--epochs", "5", "-q"}).code, 0);
  EXPECT_EQ(sha("longer"), sha("straight"));
}

TEST_F(Cli, PredictTakesPicturesOfAnySizeAndPolarity) {
  ASSERT_EQ(run_cli(train("pictures", {"--epochs", "6", "-q"})).code, 0);
  // A dark stroke on white paper, 50 x 40, in color.
  Tensor paper = Tensor::full({50, 40, 3}, 250, DType::u8);
  for (std::int64_t y = 10; y < 40; ++y) {
    for (std::int64_t x = 18; x < 23; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) paper.data<std::uint8_t>()[(y * 40 + x) * 3 + c] = 20;
    }
  }
  io::write_png(path("paper.png"), paper);
  const Ran ran = run_cli({"predict", "--model", path("pictures"), path("paper.png")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("inverted"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("40 x 50 pixels"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("gray"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("█"), std::string::npos) << ran.out;
  RunOptions ascii;
  ascii.environment["LANG"] = "C";
  const Ran plain = run_cli({"predict", "--model", path("pictures"), path("paper.png")}, ascii);
  EXPECT_EQ(plain.out.find("█"), std::string::npos) << plain.out;
  EXPECT_NE(plain.out.find('@'), std::string::npos) << plain.out;
  // An image of the right size and polarity is used unchanged.
  const data::Dataset images = quadrants(80, 2);
  io::write_png(path("same.png"), images.images.narrow(0, 6, 1).reshape({8, 8, 1}));
  const Ran file = run_cli({"predict", "--model", path("pictures"), path("same.png"), "--json"});
  const Ran index = run_cli({"predict", "--model", path("pictures"), "--data", data_, "6", "--json"});
  ASSERT_EQ(file.code, 0) << file.err;
  EXPECT_EQ(Json::parse(file.out)["predictions"][0]["probabilities"],
            Json::parse(index.out)["predictions"][0]["probabilities"]);
  EXPECT_TRUE(Json::parse(file.out)["predictions"][0]["notes"].empty());
}

TEST_F(Cli, DataShowDrawsAndCheckCounts) {
  const Ran show = run_cli({"data", "show", data_, "--index", "0,3"});
  ASSERT_EQ(show.code, 0) << show.err;
  EXPECT_NE(show.out.find("test image 0: 0\n"), std::string::npos) << show.out;
  EXPECT_NE(show.out.find("test image 3: 3\n"), std::string::npos) << show.out;
  const Ran check = run_cli({"data", "check", data_, "--json"});
  ASSERT_EQ(check.code, 0) << check.err;
  const Json result = Json::parse(check.out);
  EXPECT_EQ(result["train"]["class_counts"], (std::vector<int>{80, 80, 80, 80}));
  EXPECT_EQ(result["test"]["images"], 80);
  EXPECT_EQ(result["train"]["duplicates_within"], 0);
  EXPECT_EQ(result["test_images_in_train"], 0);
}

TEST_F(Cli, GradcheckPassesForEveryOpAndEveryPreset) {
  const auto check = [](const std::vector<std::string>& words, std::size_t least) {
    const Ran ran = run_cli(words);
    ASSERT_EQ(ran.code, 0) << ran.out << ran.err;
    const Json result = Json::parse(ran.out);
    EXPECT_EQ(result["passed"], true);
    EXPECT_GE(result["checks"].size(), least);
    for (const Json& row : result["checks"]) EXPECT_LE(row["error"].get<double>(), 1e-7) << row;
  };
  check({"gradcheck", "--json"}, 100);
  check({"gradcheck", "--model", "mlp", "--elements", "8", "--json"}, 6);
  check({"gradcheck", "--model", "lenet5", "--elements", "8", "--json"}, 10);
  check({"gradcheck", "--model", "cnn", "--elements", "8", "--json"}, 8);
  check({"gradcheck", "--model", "cnn-bn", "--elements", "8", "--json"}, 12);
}

TEST_F(Cli, TheDefaultFolderIsNumbered) {
  const auto here = std::filesystem::current_path();
  std::filesystem::current_path(dir_->path());
  const std::vector<std::string> words = {"train", "-m", "model.json", "-d", data_, "--epochs", "1", "-q"};
  const Ran first = run_cli(words);
  const Ran second = run_cli(words);
  std::filesystem::current_path(here);
  ASSERT_EQ(first.code, 0) << first.err;
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_TRUE(std::filesystem::exists(path("runs/model-data/model.safetensors")));
  EXPECT_TRUE(std::filesystem::exists(path("runs/model-data-2/model.safetensors")));
}

}  // namespace
}  // namespace descent::test
