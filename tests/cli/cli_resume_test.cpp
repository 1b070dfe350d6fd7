// A run records everything that defined it: config.json, the command line in it and the checkpoints are written from
// one list of options. The tables hold every option of that list, and a test fails if one is missing here.
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

class CliResume : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    // Names that a shell would split or expand.
    data_ = write_quadrants(*dir_ / "my data; $HOME");
    model_ = write_model(*dir_ / "it's a \"model\".json", kStateful);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string path(const std::string& name) { return *dir_ / name; }
  static Json config(const std::string& out) { return Json::parse(io::read_text(path(out) + "/config.json")); }
  static std::string sha(const std::string& out) {
    return io::sha256_hex(io::read_file(path(out) + "/model.safetensors"));
  }
  static Words train(const std::string& out, const Words& more = {}) {
    Words words = {"train", "-m", model_, "-d", data_, "-q", "--epochs", "1", "--batch-size", "16", "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Words resume(const std::string& out, const Words& more = {}) {
    Words words = {"train", "--resume", "-q", "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // Runs a line of POSIX shell, in which `descent` is the command, in the directory.
  static int shell(const std::string& directory, const std::string& line) {
    io::write_text(path("script.sh"), "cd '" + directory + "' || exit 99\ndescent() { '" DESCENT_CLI "' \"$@\"; }\n" +
                                          line + " 2>'" + path("stderr") + "'\n");
    const int status = std::system(("sh '" + path("script.sh") + "'").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string shell_errors() { return io::read_text(path("stderr")); }

  static TempDir* dir_;
  static std::string data_, model_;
};
TempDir* CliResume::dir_ = nullptr;
std::string CliResume::data_, CliResume::model_;

// Together they give every option a value other than its default.
const std::vector<std::string> kEveryOption = {
    "--epochs 2 --seed 3 --batch-size 8 --accumulate 2 --drop-last --optimizer sgd --lr "
    "0.0123456789012345 --momentum 0.85 --weight-decay 0.001 --schedule step --step-size 3 --gamma "
    "0.7 --normalization minmax --label-smoothing 0.1 --clip-norm 3.5 --clip-value 0.75 --validation "
    "0.25 --early-stop 2 --limit-train 99 --limit-test 50 --device cpu --threads 2 --deterministic "
    "--no-graph --no-nan-guard --checkpoint-every 2 --keep 2 --metrics-every 3",
    "--schedule cosine --warmup 3 --precision bf16", "--dtype f64 --normalization none --device cpu"};

Words words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST_F(CliResume, EveryOptionComesBackFromTheCommandLineAndFromAResume) {
  ASSERT_EQ(run_cli({"train", "-m", model_, "-d", data_, "-q", "--epochs", "1", "--out", path("defaults")}).code, 0);
  const Json defaults = config("defaults")["options"];
  std::set<std::string> same;
  for (const auto& [key, value] : defaults.items()) same.insert(key);
  int number = 0;
  for (const std::string& text : kEveryOption) {
    const std::string name = "every" + std::to_string(number++);
    Words words = words_of(text);
    if (number > 1) words.insert(words.end(), {"--weights", path("every0") + "/model.safetensors"});
    const Ran ran = run_cli(train(name, words));
    ASSERT_EQ(ran.code, 0) << ran.err;
    const Json first = config(name);
    const Json& options = first["options"];
    for (const auto& [key, value] : options.items()) {
      ASSERT_TRUE(defaults.contains(key)) << key;
      if (value != defaults[key]) same.erase(key);
    }
    // Rerun the recorded command line through a shell, from another directory.
    const std::string line = first["command"];
    ASSERT_EQ(shell("/", line + " -q --out '" + path(name + "-again") + "' >/dev/null"), 0) << line << shell_errors();
    Json again = config(name + "-again");
    if (options["device"] == "auto") again["options"]["device"] = "auto";  // the line names the device that was used
    EXPECT_EQ(again["options"], options) << line;
    EXPECT_EQ(again["command"], line);
    EXPECT_EQ(sha(name + "-again"), sha(name)) << line;
    // Resume from another directory, without options.
    ASSERT_EQ(shell("/", "descent train --resume -q --out '" + path(name) + "' >/dev/null"), 0) << shell_errors();
    EXPECT_EQ(config(name), first);
    EXPECT_EQ(sha(name), sha(name + "-again"));
    // Every checkpoint records the same config.
    const io::TensorFile checkpoint = io::latest_valid_checkpoint(path(name)).file;
    EXPECT_EQ(Json::parse(checkpoint.metadata.at("config")), first);
    EXPECT_NE(io::read_text(path(name) + "/report.html").find("descent train --model"), std::string::npos);
  }
  same.erase("data");  // the same in all of these runs; tested separately
  same.erase("model");
  EXPECT_TRUE(same.empty()) << "no case changes " << Json(same);
}

// A different value on --resume is refused if it changes the training; otherwise it is accepted and recorded.
TEST_F(CliResume, EveryOptionIsEitherRefusedOrMayChange) {
  const std::map<std::string, std::pair<std::string, bool>> rows = {
      {"accumulate", {"2", false}},
      {"batch-size", {"17", false}},
      {"checkpoint-every", {"7", true}},
      {"clip-norm", {"2.5", false}},
      {"clip-value", {"2.5", false}},
      {"deterministic", {"", true}},
      {"device", {"cpu", true}},
      {"drop-last", {"", false}},
      {"dtype", {"f64", false}},
      {"early-stop", {"3", false}},
      {"epochs", {"2", true}},
      {"gamma", {"0.3", false}},
      {"keep", {"5", true}},
      {"label-smoothing", {"0.2", false}},
      {"limit-test", {"20", false}},
      {"limit-train", {"100", false}},
      {"lr", {"0.02", false}},
      {"metrics-every", {"3", true}},
      {"momentum", {"0.5", false}},
      {"no-graph", {"", true}},
      {"no-nan-guard", {"", true}},
      {"normalization", {"minmax", false}},
      {"optimizer", {"sgd", false}},
      {"precision", {"bf16", false}},
      {"schedule", {"constant", false}},
      {"seed", {"9", false}},
      {"step-size", {"2", false}},
      {"threads", {"1", true}},
      {"validation", {"0.5", false}},
      {"warmup", {"1", false}},
      {"weight-decay", {"0.1", false}},
  };
  ASSERT_EQ(run_cli(train("rows")).code, 0);
  const Json before = config("rows");
  std::set<std::string> missing;
  for (const auto& [key, value] : before["options"].items()) missing.insert(key);
  for (const auto& [name, row] : rows) {
    const auto& [value, may_change] = row;
    Words more = {"--" + name};
    if (!value.empty()) more.push_back(value);
    std::string key = name;
    std::replace(key.begin(), key.end(), '-', '_');
    missing.erase(key);
    const Ran ran = run_cli(resume("rows", more));
    EXPECT_EQ(ran.code, may_change ? 0 : 1) << name << ran.err;
    if (!may_change) {
      EXPECT_NE(ran.err.find("--" + name + " is "), std::string::npos) << ran.err;
    }
    const Json now = config("rows")["options"];
    EXPECT_EQ(now[key] != before["options"][key], may_change) << name;
    io::write_text(path("rows") + "/config.json", before.dump());
  }
  missing.erase("data");
  missing.erase("model");
  missing.erase("weights");
  EXPECT_TRUE(missing.empty()) << "not in the table: " << Json(missing);
  // Values from the start may be repeated, even if the value was chosen automatically.
  EXPECT_EQ(run_cli(resume("rows", {"--schedule", "auto", "--normalization", "auto", "--lr", "0.003"})).code, 0);
}

TEST_F(CliResume, AConfigOfBeforeAnOptionExistedMeansItsDefault) {
  ASSERT_EQ(run_cli(train("earlier")).code, 0);
  const Json now = config("earlier");
  Json before = now;
  for (const char* key : {"drop_last", "no_nan_guard", "weights"}) before["options"].erase(key);
  for (const char* key : {"test_crc32c", "fitted_crc32c"}) before["dataset"].erase(key);
  io::write_text(path("earlier") + "/config.json", before.dump());
  const Ran ran = run_cli(resume("earlier"));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(config("earlier"), now);
}

TEST_F(CliResume, AConfigThatContradictsItsCheckpointIsRefused) {
  ASSERT_EQ(run_cli(train("edited")).code, 0);
  Json changed = config("edited");
  changed["options"]["weight_decay"] = 0.5;
  io::write_text(path("edited") + "/config.json", changed.dump());
  const Ran ran = run_cli(resume("edited"));
  EXPECT_EQ(ran.code, 1) << ran.err;
  EXPECT_NE(ran.err.find("made with --weight-decay -1, config.json beside it says 0.5"), std::string::npos) << ran.err;
  EXPECT_EQ(config("edited"), changed);
}

// ---- data and model that were moved ----

TEST_F(CliResume, RelativePathsMeanTheSameFromAnotherDirectory) {
  write_quadrants(path("here/rel"));
  write_model(path("here/rel.json"), kMlp);
  for (const char* part : {"train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"}) {
    std::filesystem::copy(path("here/rel/") + part + "-ubyte", path("here/set-") + part + "-ubyte");
  }
  ASSERT_EQ(
      shell(path("here"), "descent train -m rel.json -d rel -q --epochs 2 --schedule constant --out run >/dev/null"), 0)
      << shell_errors();
  ASSERT_EQ(shell("/", "descent train --resume -q --epochs 3 --out '" + path("here/run") + "' >/dev/null"), 0)
      << shell_errors();
  EXPECT_EQ(config("here/run")["options"]["data"], path("here/rel"));
  EXPECT_EQ(config("here/run")["options"]["model"], path("here/rel.json"));
  ASSERT_EQ(shell(path("here"), "descent train --resume -q -m ./rel.json -d ../here/rel/ --out run >/dev/null"), 0)
      << shell_errors();
  // The common prefix of the names of four files is a path too.
  ASSERT_EQ(shell(path("here"), "descent train -m rel.json -d set -q --epochs 1 --out set-run >/dev/null"), 0);
  EXPECT_EQ(config("here/set-run")["options"]["data"], path("here/set"));
  ASSERT_EQ(shell("/", "descent train --resume -q --out '" + path("here/set-run") + "' >/dev/null"), 0)
      << shell_errors();
}

TEST_F(CliResume, AConfigOfAnotherShapeIsAFormatError) {
  ASSERT_EQ(run_cli(train("shape")).code, 0);
  const Json whole = config("shape");
  std::vector<std::string> texts = {"[]", "5", "{", ""};
  for (const char* key : {"options", "model", "dataset"}) {
    Json changed = whole;
    changed[key] = "text";
    texts.push_back(changed.dump());
  }
  for (const std::string& text : texts) {
    io::write_text(path("shape") + "/config.json", text);
    const Ran ran = run_cli(resume("shape"));
    EXPECT_EQ(ran.code, 2) << text << ran.err;
    EXPECT_NE(ran.err.find("config.json"), std::string::npos) << ran.err;
  }
}

TEST_F(CliResume, WhatWasMovedIsKnownByItsContent) {
  write_quadrants(path("old-data"));
  write_quadrants(path("other-data"), 320, 79);
  write_model(path("old.json"), kMlp);
  write_model(path("other.json"), kStateful);
  const Words start = {"train",    "-m", path("old.json"), "-d",       path("old-data"), "-q",
                       "--epochs", "2",  "--schedule",     "constant", "--validation",   "0.1"};
  const auto with = [&](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(run_cli(with(start, {"--out", path("stay")})).code, 0);
  ASSERT_EQ(run_cli(with(start, {"--out", path("move")})).code, 0);
  ASSERT_EQ(run_cli(resume("stay", {"--epochs", "4"})).code, 0);
  std::filesystem::rename(path("old-data"), path("new-data"));
  std::filesystem::rename(path("old.json"), path("new.json"));
  const auto fails = [&](int code, const std::string& says, const Words& more) {
    const Ran ran = run_cli(resume("move", more));
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
  };
  fails(4, "--data FOLDER", {});
  fails(1, "--data must name the same images", {"--data", path("other-data")});
  fails(1, "another model", {"--data", path("new-data"), "--model", path("other.json")});
  fails(1, "another model", {"--data", path("new-data"), "--model", "mlp"});
  const Ran ran = run_cli(resume("move", {"--data", path("new-data"), "--model", path("new.json"), "--epochs", "4"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(sha("move"), sha("stay"));
  EXPECT_EQ(config("move")["options"]["data"], path("new-data"));
  EXPECT_EQ(config("move")["dataset"], config("stay")["dataset"]);
  ASSERT_EQ(run_cli(resume("move")).code, 0);  // the new path was recorded
}

TEST_F(CliResume, AFallbackIsRememberedAsWhatItWas) {
  const Words words = {"train",         "-m",  "mlp",          "-d", "mnist", "--fallback",   "-q", "--epochs", "1",
                       "--limit-train", "300", "--limit-test", "50", "--out", path("instead")};
  const Ran ran = run_cli(words);
  ASSERT_EQ(ran.code, 0) << ran.err;
  ASSERT_NE(ran.err.find("INSTEAD OF mnist"), std::string::npos) << ran.err;
  const Json first = config("instead");
  const std::string used = first["dataset"]["name"];
  EXPECT_NE(used, "mnist");
  EXPECT_EQ(first["options"]["data"], used);
  const std::string line = first["command"];
  EXPECT_NE(line.find("--data " + used), std::string::npos) << line;
  EXPECT_EQ(line.find("--fallback"), std::string::npos) << line;
  const Ran resumed = run_cli(resume("instead"));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(config("instead"), first);
  Words again = words;  // the words that the run was started with
  again.insert(again.end(), {"--resume"});
  EXPECT_EQ(run_cli(again).code, 0);
}

// ---- what is not there ----

TEST_F(CliResume, AFolderWithoutARunIsNotResumed) {
  io::make_directories(path("empty"));
  io::write_text(path("empty") + "/notes.txt", "mine");
  for (const char* name : {"typo", "empty"}) {
    const bool there = std::filesystem::exists(path(name));
    for (const Words& words : {resume(name), train(name, {"--resume"})}) {
      const Ran ran = run_cli(words);
      EXPECT_EQ(ran.code, 1) << ran.err;
      EXPECT_NE(ran.err.find("holds no run"), std::string::npos) << ran.err;
    }
    EXPECT_EQ(std::filesystem::exists(path(name)), there);
    EXPECT_FALSE(std::filesystem::exists(path(name) + "/config.json"));
  }
}

TEST_F(CliResume, ARunOfNaNsIsResumed) {
  const std::string mlp = write_model(path("mlp.json"), kMlp);  // batch norm would keep the values finite
  const Words words =
      train("it's nan", {"-m", mlp, "--epochs", "100000", "--optimizer", "sgd", "--lr", "1e30", "--schedule",
                         "constant", "--no-nan-guard", "--checkpoint-every", "7", "--validation", "0.1"});
  Process process(words);
  for (int i = 0; i < 2000 && process.running() && io::latest_valid_checkpoint(path("it's nan")).step < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  process.send(SIGINT);
  const Ran stopped = process.wait();
  ASSERT_EQ(stopped.code, 128 + SIGINT) << stopped.err;
  const std::string hint = "to go on: ";
  ASSERT_NE(stopped.err.find(hint), std::string::npos) << stopped.err;
  const std::string line = stopped.err.substr(stopped.err.find(hint) + hint.size());
  ASSERT_EQ(shell("/", line.substr(0, line.find('\n')) + " -q --epochs 1 >/dev/null"), 0) << line << shell_errors();
  const Ran ran = run_cli(resume("it's nan", {"--epochs", "1", "--json"}));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(std::string(config("it's nan")["command"]).find("--no-nan-guard"), std::string::npos);
  EXPECT_TRUE(Json::parse(ran.out)["test_loss"].is_null()) << ran.out;
  EXPECT_TRUE(std::filesystem::exists(path("it's nan") + "/report.html"));
  // The guard can be switched on again; then it stops the training.
  EXPECT_EQ(run_cli(resume("it's nan", {"--no-nan-guard=false"})).code, 7);
}

// ---- errors that can be foreseen ----

TEST_F(CliResume, WhatCanBeForeseenIsSaidBeforeTheFirstStep) {
  ASSERT_EQ(run_cli(train("kept")).code, 0);
  const std::string before = sha("kept");
  const auto fails = [&](int code, const std::string& says, const Words& more) {
    for (const Words& where : {Words{"--out", path("never")}, Words{"--out", path("kept"), "--force"}}) {
      Words words = train("never", more);
      words.insert(words.end(), where.begin(), where.end());
      const Ran ran = run_cli(words);
      EXPECT_EQ(ran.code, code) << ran.err;
      EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
    }
    EXPECT_FALSE(std::filesystem::exists(path("never"))) << says;
    EXPECT_EQ(sha("kept"), before) << says;
  };
  fails(1, "--drop-last", {"--limit-train", "129", "--batch-size", "128"});
  fails(1, "layer 2 (BatchNorm1d)", {"--batch-size", "1"});
  fails(1, "no whole batch", {"--limit-train", "15", "--drop-last"});
  fails(1, "none would be left to validate on", {"--validation", "0.001"});
  fails(1, "none would be left to train on", {"--validation", "0.9", "--limit-train", "2"});
  for (const char* name : {"report.html", "model.safetensors", "metrics.jsonl", "config.json"}) {
    const std::string folder = path(std::string("blocked-") + name);
    io::make_directories(folder + "/" + name);
    const Ran ran = run_cli(train(std::string("blocked-") + name, {"--force"}));
    EXPECT_EQ(ran.code, 4) << ran.err;
    EXPECT_NE(ran.err.find(name), std::string::npos) << ran.err;
    EXPECT_EQ(ran.err.find("epoch "), std::string::npos) << ran.err;
    EXPECT_TRUE(std::filesystem::is_directory(folder + "/" + name));
  }
}

TEST_F(CliResume, DropLastIsAWayOutAndIsRemembered) {
  const Words words = {"--limit-train", "129", "--batch-size", "16", "--drop-last", "--schedule", "constant"};
  Words longer = words;
  longer.insert(longer.end(), {"--epochs", "3"});
  ASSERT_EQ(run_cli(train("dropped", words)).code, 0);
  ASSERT_EQ(run_cli(train("dropped3", longer)).code, 0);
  EXPECT_EQ(io::latest_valid_checkpoint(path("dropped3")).step, 24);
  ASSERT_EQ(run_cli(resume("dropped", {"--epochs", "3"})).code, 0);
  EXPECT_EQ(sha("dropped"), sha("dropped3"));
}

TEST_F(CliResume, AClassThatNoTrainingImageShowsIsSaid) {
  const Ran ran = run_cli(train("three", {"--limit-train", "3"}));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("warning: no training image shows class 3"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace descent::test
