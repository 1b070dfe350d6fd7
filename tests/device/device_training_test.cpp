// Whole trainings of the command on the simulated device, which runs nvcc's PTX: the losses match the CPU's from the
// same seed, the bits do not depend on the order in which the device works, memory and library failures are handled,
// and a killed run is resumed.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;
using Environment = std::map<std::string, std::string>;

RunOptions with(const Environment& environment) {
  RunOptions options;
  options.environment = environment;
  options.environment.try_emplace("SIMULATED_RACES", "off");  // tests/kernels look for races, and are faster
  return options;
}

// The results of a training of a few steps.
struct Outcome {
  int code = -1;
  std::string err, sha;  // of model.safetensors
  std::vector<double> losses;
  Json config;
};

class DeviceTraining : public ::testing::Test {
 protected:
  std::string path(const std::string& name) { return dir_ / name; }

  // Arguments of a training of `steps` steps of 16 synthetic digits.
  Words words(const std::string& model, int steps, const Words& more) {
    Words all = {"train",        "-m", model,          "-d", "synthetic", "-q", "--epochs",        "1",
                 "--batch-size", "16", "--limit-test", "16", "--seed",    "7",  "--metrics-every", "1"};
    all.insert(all.end(), {"--limit-train", std::to_string(16 * steps)});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  Outcome train(const std::string& model, int steps, const Words& more, const Environment& environment = {}) {
    const std::string out = path("run" + std::to_string(runs_++));
    Words all = words(model, steps, more);
    all.insert(all.end(), {"--out", out});
    return outcome(run_cli(all, with(environment)), out);
  }

  static Outcome outcome(const Ran& ran, const std::string& out) {
    Outcome found{ran.code, ran.err, {}, {}, {}};
    if (ran.code != 0) return found;
    found.sha = io::sha256_hex(io::read_file(out + "/model.safetensors"));
    found.config = Json::parse(io::read_text(out + "/config.json"));
    std::istringstream lines(io::read_text(out + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const Json entry = Json::parse(line);
      if (entry.contains("step") && entry.contains("loss")) found.losses.push_back(entry["loss"]);
    }
    return found;
  }

  TempDir dir_;
  int runs_ = 0;
};

void expect_near(const Outcome& device, const Outcome& cpu, double tolerance) {
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  ASSERT_EQ(device.code, 0) << device.err;
  ASSERT_FALSE(cpu.losses.empty());
  ASSERT_EQ(device.losses.size(), cpu.losses.size());
  for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
    EXPECT_NEAR(device.losses[i], cpu.losses[i], tolerance * std::abs(cpu.losses[i])) << "step " << i + 1;
  }
}

// Relative tolerance of the losses: f32 rounding in another order, and operands rounded to 10 (TF32) or 7 (bf16) bits
// of fraction. The CPU has no TF32: it computes in f32.
struct Row {
  const char *model, *precision;
  double tolerance;
};
class PresetOnDevice : public DeviceTraining, public ::testing::WithParamInterface<Row> {};

TEST_P(PresetOnDevice, HasTheLossesOfTheCpu) {
  const Row& row = GetParam();
  const std::string precision = row.precision;
  const Outcome cpu = train(row.model, 4, {"--device", "cpu", "--precision", precision == "bf16" ? "bf16" : "f32"});
  expect_near(train(row.model, 4, {"--device", "cuda", "--precision", precision}), cpu, row.tolerance);
}

INSTANTIATE_TEST_SUITE_P(Presets, PresetOnDevice,
                         ::testing::Values(Row{"mlp", "f32", 1e-4}, Row{"lenet5", "f32", 1e-4}, Row{"cnn", "f32", 1e-4},
                                           Row{"cnn-bn", "f32", 1e-4}, Row{"mlp", "tf32", 1e-2},
                                           Row{"lenet5", "tf32", 1e-2}, Row{"cnn", "tf32", 1e-2},
                                           Row{"cnn-bn", "tf32", 1e-2}, Row{"mlp", "bf16", 3e-2},
                                           Row{"lenet5", "bf16", 3e-2}, Row{"cnn", "bf16", 3e-2},
                                           Row{"cnn-bn", "bf16", 3e-2}),
                         [](const auto& info) {
                           std::string name = std::string(info.param.model) + "_" + info.param.precision;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class BitsOnDevice : public DeviceTraining, public ::testing::WithParamInterface<const char*> {};

TEST_P(BitsOnDevice, AreTheSameInEveryOrder) {
  const std::string model = GetParam();
  const Outcome first = train(model, 3, {"--device", "cuda"});
  ASSERT_EQ(first.code, 0) << first.err;
  const auto same = [&](const char* what, const Words& more, const Environment& environment) {
    Words words = {"--device", "cuda"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome other = train(model, 3, words, environment);
    ASSERT_EQ(other.code, 0) << what << other.err;
    EXPECT_EQ(other.sha, first.sha) << what;
    EXPECT_EQ(other.losses, first.losses) << what;
  };
  same("without a graph", {"--no-graph"}, {});
  same("a random order of warps and blocks", {}, {{"SIMULATED_ORDER", "random"}, {"SIMULATED_SEED", "1"}});
  same("another", {}, {{"SIMULATED_ORDER", "random"}, {"SIMULATED_SEED", "2"}});
  same("streams that run at once", {}, {{"SIMULATED_STREAMS", "eager"}});
  same("streams in random order", {"--no-graph"}, {{"SIMULATED_STREAMS", "random"}, {"SIMULATED_SEED", "3"}});
  same("132 multiprocessors", {}, {{"SIMULATED_MULTIPROCESSORS", "132"}});
}

INSTANTIATE_TEST_SUITE_P(Presets, BitsOnDevice, ::testing::Values("mlp", "lenet5", "cnn", "cnn-bn"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_F(DeviceTraining, GoesOnWithoutTheEpiloguesOfCublasLt) {
  for (const char* precision : {"f32", "bf16"}) {
    const Words on_device = {"--device", "cuda", "--precision", precision};
    const Outcome all = train("mlp", 4, on_device);
    for (const char* epilogues : {"some", "none"}) {
      SCOPED_TRACE(std::string(precision) + " " + epilogues);
      expect_near(train("mlp", 4, on_device, {{"SIMULATED_EPILOGUES", epilogues}}), all,
                  precision == std::string("f32") ? 1e-4 : 3e-2);
    }
  }
}

TEST_F(DeviceTraining, GoesOnWithoutCudnn) {
  expect_near(train("cnn", 3, {"--device", "cuda"}, {{"SIMULATED_CUDNN", "off"}}), train("cnn", 3, {"--device", "cpu"}),
              1e-4);
}

TEST_F(DeviceTraining, WithoutMemoryEndsWithCode3AndSaysHowMuchWasWanted) {
  const Outcome none = train("cnn", 4, {"--device", "cuda"}, {{"SIMULATED_MEMORY", "20000000"}});
  EXPECT_EQ(none.code, 3) << none.err;
  EXPECT_NE(none.err.find("bytes"), std::string::npos) << none.err;
  EXPECT_NE(none.err.find("free"), std::string::npos) << none.err;
}

TEST_F(DeviceTraining, ResumesBitForBitAfterAKill) {
  const Words on_device = {"--device", "cuda", "--checkpoint-every", "2"};
  const Outcome whole = train("lenet5", 12, on_device);
  ASSERT_EQ(whole.code, 0) << whole.err;
  const std::string out = path("killed");
  Words all = words("lenet5", 12, on_device);
  all.insert(all.end(), {"--out", out});
  const RunOptions options = with({});
  {
    Process process(all, options);
    ASSERT_TRUE(wait_until(process, [&] {
      if (!std::filesystem::exists(out)) return false;
      for (const auto& entry : std::filesystem::directory_iterator(out)) {
        if (entry.path().filename().string().find("checkpoint-") == 0) return true;
      }
      return false;
    })) << process.errors_so_far();
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().code, 128 + SIGKILL);
  }
  const Outcome resumed = outcome(run_cli({"train", "--resume", "-q", "--out", out}, options), out);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(resumed.sha, whole.sha);
  EXPECT_EQ(resumed.losses, whole.losses);
}

// An error that destroys the context: the command reports it and exits with code 5, and saved files are intact.
TEST_F(DeviceTraining, AnErrorOfTheDeviceLeavesTheCheckpointsWhole) {
  const std::string out = path("broken");
  Words all = words("mlp", 12, {"--device", "cuda", "--checkpoint-every", "2", "--no-graph"});
  all.insert(all.end(), {"--out", out});
  constexpr int kIllegalAddress = 700;  // cudaErrorIllegalAddress
  const Ran ran =
      run_cli(all, with({{"SIMULATED_FAIL", "cudaLaunchKernel:" + std::to_string(kIllegalAddress) + ":1000000:120"}}));
  EXPECT_EQ(ran.code, 5) << ran.err;
  EXPECT_NE(ran.err.find("cudaErrorIllegalAddress"), std::string::npos) << ran.err;
  const Ran resumed = run_cli({"train", "--resume", "-q", "--out", out}, with({}));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

// A few elements of each input: the CPU's tests check all gradients, and OpCases checks that the device's are the same.
TEST_F(DeviceTraining, GradientsAgreeWithCentralDifferences) {
  const Ran ran = run_cli({"gradcheck", "--device", "cuda", "--elements", "12", "--json"}, with({}));
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
}

}  // namespace
}  // namespace descent::test
