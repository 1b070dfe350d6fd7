// Run folders: who owns them during a training, what --force may destroy and when, and paths that are not text.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/cli_run.h"

namespace descent::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Files = std::map<std::string, std::string>;

class Folders : public ::testing::Test {
 protected:
  Folders() : data_(write_quadrants(path("data"))) { write_model(path("model.json"), kMlp); }

  std::string path(const std::string& name) const { return dir_ / name; }
  std::vector<std::string> train(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"train", "-m", path("model.json"), "-d", data_, "--epochs", "2", "-q"};
    if (!out.empty()) words.insert(words.end(), {"--out", path(out)});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> slow(const std::string& out, const std::vector<std::string>& more = {}) const {
    return slow_training(dir_, path(out), more);
  }
  // Fails in its first epoch.
  std::vector<std::string> diverging(const std::string& out) const {
    return train(out, {"--force", "--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant"});
  }
  Files files(const std::string& folder) const {
    Files found;
    for (const auto& entry : fs::directory_iterator(path(folder))) {
      found[entry.path().filename().string()] = entry.is_directory() ? "(directory)" : io::read_text(entry.path());
    }
    return found;
  }
  Files old_run() {  // in "run", together with a file of the user's
    EXPECT_EQ(run_cli(train("run")).code, 0);
    io::write_text(path("run/notes.txt"), "mine");
    return files("run");
  }
  bool is_running(const Process& process, const std::string& out) const {
    return wait_until(process, [&] { return fs::exists(path(out) + "/metrics.csv"); });
  }

  TempDir dir_;
  std::string data_;
};

TEST_F(Folders, RunsThatStartTogetherGetFoldersOfTheirOwn) {
  RunOptions here;
  here.directory = dir_.path();
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 4; ++i) processes.push_back(std::make_unique<Process>(train(""), here));
  for (const auto& process : processes) {
    const Ran ran = process->wait();
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
  for (const char* folder : {"runs/model-data", "runs/model-data-2", "runs/model-data-3", "runs/model-data-4"}) {
    const Files found = files(folder);
    EXPECT_EQ(found.count("model.safetensors"), 1U) << folder;
    EXPECT_EQ(found.count(".lock"), 0U) << folder;
    const std::string& metrics = found.at("metrics.jsonl");
    EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 4) << metrics;  // two epochs with a line of steps each
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(path("runs")), {}), 4);
}

TEST_F(Folders, AnythingInTheWayOfTheDefaultNameIsPassedOver) {
  io::make_directories(path("runs"));
  io::write_text(path("runs/model-data"), "a file");
  fs::create_symlink("nowhere", path("runs/model-data-2"));
  RunOptions here;
  here.directory = dir_.path();
  const Ran ran = run_cli(train(""), here);
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(fs::exists(path("runs/model-data-3/model.safetensors")));
}

TEST_F(Folders, ARunInProgressIsLeftAlone) {
  auto process = std::make_unique<Process>(slow("run"));
  ASSERT_TRUE(is_running(*process, "run")) << process->errors_so_far();
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"train", "--resume", "--out", path("run")}, train("run", {"--force"})}) {
    const Ran refused = run_cli(words);
    EXPECT_EQ(refused.code, 1) << refused.err;
    EXPECT_NE(refused.err.find("run: a training is running in it (process "), std::string::npos) << refused.err;
  }
  EXPECT_EQ(run_cli(train("run")).code, 1);
  process->send(SIGKILL);
  process->wait();
  const Ran next = run_cli(train("run", {"--force"}));  // the lock was released when its process died
  EXPECT_EQ(next.code, 0) << next.err;
  EXPECT_FALSE(fs::exists(path("run/.lock")));
}

TEST_F(Folders, OfTwoRunsForOneNewFolderOneIsRefused) {
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 4; ++i) processes.push_back(std::make_unique<Process>(train("new", {"--epochs", "100"})));
  std::map<int, int> codes;
  for (const auto& process : processes) ++codes[process->wait().code];
  EXPECT_EQ(codes, (std::map<int, int>{{0, 1}, {1, 3}}));
}

TEST_F(Folders, TheOldRunComesBackWhenTheNewOneFails) {
  const Files before = old_run();
  const Ran nan = run_cli(diverging("run"));
  EXPECT_EQ(nan.code, 7) << nan.err;
  EXPECT_NE(nan.err.find("the old one is back"), std::string::npos) << nan.err;
  EXPECT_EQ(files("run"), before);
  RunOptions full;  // neither a checkpoint nor, with the lower limit, config.json fits
  for (const std::uint64_t limit : {8192U, 100U}) {
    full.file_limit = limit;
    EXPECT_EQ(run_cli(train("run", {"--epochs", "9", "--force", "--keep", "2"}), full).code, 4);
    EXPECT_EQ(files("run"), before) << limit;
  }
  ASSERT_EQ(run_cli(train("run", {"--epochs", "3", "--force"})).code, 0);
  const Files after = files("run");
  EXPECT_EQ(after.at("notes.txt"), "mine");
  EXPECT_EQ(after.count(".replaced-run"), 0U);
  EXPECT_NE(after.at("model.safetensors"), before.at("model.safetensors"));
  EXPECT_EQ(Json::parse(after.at("config.json"))["options"]["epochs"], 3);
}

TEST_F(Folders, AKilledReplacementCanBeResumedOrReplaced) {
  const Files before = old_run();
  const auto kill_early = [&] {
    Process process(slow("run", {"--force"}));
    ASSERT_TRUE(wait_until(process, [&] {
      return fs::exists(path("run/metrics.csv")) && fs::exists(path("run/.replaced-run"));
    })) << process.errors_so_far();
    process.send(SIGKILL);
    process.wait();
  };
  kill_early();
  // A refused command leaves both runs unchanged.
  EXPECT_EQ(run_cli(train("run")).code, 1);
  EXPECT_EQ(run_cli({"train", "--resume", "--out", path("run"), "--lr", "0.5"}).code, 1);
  EXPECT_EQ(run_cli(train("run", {"--force", "--schedule", "cosine", "--warmup", "100000"})).code, 1);
  EXPECT_TRUE(fs::exists(path("run/.replaced-run/model.safetensors")));
  EXPECT_EQ(Json::parse(io::read_text(path("run/config.json")))["options"]["model"], path("slow.json"));
  // A resume continues the killed run; the old run is removed once the killed one has a checkpoint.
  Process resumed({"train", "--resume", "--out", path("run")});
  ASSERT_TRUE(wait_until(resumed, [&] { return resumed.errors_so_far().find("resume  ") != std::string::npos; }));
  resumed.send(SIGTERM);
  const Ran ran = resumed.wait();
  ASSERT_EQ(ran.code, 128 + SIGTERM) << ran.err;
  EXPECT_FALSE(fs::exists(path("run/.replaced-run"))) << ran.err;
  EXPECT_EQ(Json::parse(io::read_text(path("run/config.json")))["options"]["model"], path("slow.json"));
  // If a failing run replaces the killed one, the old run comes back: the killed run had no checkpoint to lose.
  ASSERT_EQ(run_cli(train("run", {"--force"})).code, 0);
  const Files again = files("run");
  kill_early();
  EXPECT_EQ(run_cli(diverging("run")).code, 7);
  Files left = files("run");
  EXPECT_EQ(left, again);
}

// Recreates every state in which moving a run aside or back can be interrupted. The run must be put together again.
TEST_F(Folders, MovingThatWasCutOffIsUndone) {
  const Files before = old_run();
  const std::vector<std::string> names = {"config.json", "metrics.jsonl", "metrics.csv", "model.safetensors",
                                          "report.html"};
  for (std::size_t moved = 0; moved <= names.size(); ++moved) {
    fs::create_directory(path("run/.moving-run"));
    for (std::size_t i = 0; i < moved; ++i) fs::rename(path("run/" + names[i]), path("run/.moving-run/" + names[i]));
    EXPECT_EQ(run_cli(diverging("run")).code, 7);
    EXPECT_EQ(files("run"), before) << moved;
  }
  // All of the old run was moved aside, and the new run had not started.
  fs::create_directory(path("run/.replaced-run"));
  for (const auto& [name, content] : before) {
    if (name != "notes.txt") fs::rename(path("run/" + name), path("run/.replaced-run/" + name));
  }
  EXPECT_EQ(run_cli(train("run")).code, 1);
  EXPECT_EQ(files("run"), before);
  // The new run has a checkpoint; only the cleanup is left.
  fs::create_directory(path("run/.replaced-run"));
  io::write_text(path("run/.replaced-run/config.json"), "{}");
  EXPECT_EQ(run_cli({"train", "--resume", "--out", path("run"), "-q"}).code, 0);
  EXPECT_FALSE(fs::exists(path("run/.replaced-run")));
}

// A run owns only files: a directory named like one of them is the user's.
TEST_F(Folders, ADirectoryCalledLikeACheckpointIsNotTouched) {
  old_run();
  io::make_directories(path("run/checkpoint-9.safetensors/deep"));
  io::write_text(path("run/checkpoint-9.safetensors/deep/p"), "precious");
  const Ran ran = run_cli(train("run", {"--force"}));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(io::read_text(path("run/checkpoint-9.safetensors/deep/p")), "precious");
}

// A refused resume writes nothing.
TEST_F(Folders, ARefusedResumeChangesNothing) {
  old_run();
  for (const auto& [name, content] : files("run")) {
    if (name.starts_with("checkpoint-")) io::write_text(path("run/" + name), "rubbish");
  }
  const Files before = files("run");
  EXPECT_EQ(run_cli({"train", "--resume", "--out", path("run"), "--epochs", "5"}).code, 2);
  EXPECT_EQ(files("run"), before);
}

// Bytes that are not text in any known encoding, in the paths of the data, the model and the run.
TEST_F(Folders, PathsAreBytes) {
  const std::string data = write_quadrants(path("d\xE9p\xF4t"));
  const std::string model = write_model(path("m\xFF.json"), kMlp);
  const std::string out = path("r\xE9sultat");
  const std::vector<std::string> words = {"train", "-m", model, "-d", data, "--epochs", "1", "--out", out, "--json"};
  const Ran ran = run_cli(words);
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("r\\xe9sultat"), std::string::npos) << ran.err;
  EXPECT_TRUE(Json::accept(ran.out)) << ran.out;
  EXPECT_TRUE(Json::accept(io::read_text(out + "/config.json")));
  const Ran resumed = run_cli({"train", "--resume", "--out", out, "--epochs", "2", "-q"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;  // the data was found again
  EXPECT_EQ(run_cli({"eval", "--model", out, "--data", data, "--json"}).code, 0);
  EXPECT_EQ(run_cli({"data", "check", data}).code, 0);
  RunOptions here;
  here.directory = dir_.path();
  ASSERT_EQ(run_cli({"train", "-m", model, "-d", data, "--epochs", "1", "-q"}, here).code, 0);
  EXPECT_TRUE(fs::exists(path("runs/m\xFF-d\xE9p\xF4t/report.html")));
  // Replacing a run works with such paths too.
  old_run();
  const Ran forced =
      run_cli({"train", "-m", model, "-d", data, "--epochs", "1", "-q", "--force", "--out", path("run")});
  ASSERT_EQ(forced.code, 0) << forced.err;
  EXPECT_EQ(Json::parse(io::read_text(path("run/config.json")))["dataset"]["name"], "d\\xe9p\\xf4t");
}

TEST_F(Folders, NamesArePrintedAsTheyAreButControlNothing) {
  const std::string fine = "d\xC3\xA9p\xC3\xB4t d'\xE6\x95\xB0";
  const std::string evil = "a\x1b[2Jb\rc\xC2\x9B";
  const std::string data = write_quadrants(path(fine));
  const Ran ran =
      run_cli({"train", "-m", path("model.json"), "-d", data, "--epochs", "1", "--out", path(fine + "/run")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("folder  " + path(fine + "/run")), std::string::npos) << ran.err;
  EXPECT_NE(ran.out.find("model   " + path(fine + "/run/model.safetensors")), std::string::npos) << ran.out;
  const Ran missing = run_cli({"eval", "--model", path(fine + ".safetensors"), "--data", data});
  EXPECT_EQ(missing.code, 4);
  EXPECT_NE(missing.err.find("descent: " + path(fine + ".safetensors") + ": "), std::string::npos) << missing.err;
  const std::string hostile = write_quadrants(path(evil));
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"train", "-m", path("model.json"), "-d", hostile, "--epochs", "1", "--out", path(evil + "/run")},
           {"train", "-m", path("model.json"), "-d", hostile, "--out", path(evil + "/run")},
           {"train", "-m", path(evil), "-d", hostile},
           {"data", "check", hostile},
           {"data", "fetch", path(evil + "/none")},
           {"inspect", path(evil + "/run")},
           {"predict", "--model", path(evil + "/run"), "--data", hostile, "0"},
           {"predict", "--model", path(evil + "/run"), path(evil + ".png")},
           {"eval", "--model", path(evil + "/run"), "--data", hostile},
           {"eval", "--model", path(evil), "--data", hostile},
           {evil}}) {
    const Ran said = run_cli(words);
    const std::string all = said.out + said.err;
    for (const char* control : {"\x1b", "\r", "\xC2\x9B"}) {
      EXPECT_EQ(all.find(control), std::string::npos) << ::testing::PrintToString(words) << all;
    }
  }
}

}  // namespace
}  // namespace descent::test
