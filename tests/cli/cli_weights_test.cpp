// What a run records about the weights that it started from.
#include <nlohmann/json.hpp>

#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

class CliWeights : public ::testing::Test {
 protected:
  void SetUp() override {
    data_ = write_quadrants(path("data"), 64, 20);
    write_model(path("mlp.json"), kMlp);
    nn::Model model = nn::build_model(kMlp, 7);
    model.module->to(DType::f64);
    for (const nn::NamedTensor& parameter : model.module->named_parameters()) Tensor(parameter.tensor).fill(1.0 / 3);
    io::save_module(path("thirds.safetensors"), *model.module);
  }
  std::string path(const std::string& name) const { return dir_ / name; }
  Ran train(const std::string& out, const Words& more) const {
    Words words = {"train", "-m",        path("mlp.json"),           "-d",    data_,    "-q", "--epochs", "1", "-b",
                   "16",    "--weights", path("thirds.safetensors"), "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return run_cli(words);
  }
  Ran resume(const std::string& out, const Words& more = {}) const {
    Words words = {"train", "--resume", "-q", "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return run_cli(words);
  }
  void remove_checkpoints(const std::string& out) const {
    for (const auto& entry : std::filesystem::directory_iterator(path(out))) {
      if (entry.path().filename().string().starts_with("checkpoint-")) std::filesystem::remove(entry.path());
    }
  }

  TempDir dir_;
  std::string data_;
};

TEST_F(CliWeights, AreTakenInTheTypeOfTheTraining) {
  const Ran ran = train("exact", {"--dtype", "f64", "--optimizer", "sgd", "--lr", "1e-300"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const io::TensorFile file = io::load_tensors(path("exact") + "/model.safetensors");
  for (const auto& [name, tensor] : file.tensors) {
    for (const double value : tensor.to_vector<double>()) ASSERT_EQ(value, 1.0 / 3) << name;
  }
}

TEST_F(CliWeights, AreKnownByTheirContent) {
  ASSERT_EQ(train("run", {}).code, 0);
  const std::string config = io::read_text(path("run") + "/config.json");
  const Bytes result = io::read_file(path("run") + "/model.safetensors");
  std::filesystem::rename(path("thirds.safetensors"), path("moved.safetensors"));
  // A checkpoint holds everything.
  EXPECT_EQ(resume("run").code, 0);
  EXPECT_EQ(io::read_text(path("run") + "/config.json"), config);
  // Before the first checkpoint the file is needed, wherever it has been moved.
  remove_checkpoints("run");
  const Ran gone = resume("run");
  EXPECT_EQ(gone.code, 4) << gone.err;
  nn::Model other = nn::build_model(kMlp, 8);
  io::save_module(path("other.safetensors"), *other.module);
  const Ran refused = resume("run", {"--weights", path("other.safetensors")});
  EXPECT_EQ(refused.code, 1) << refused.err;
  EXPECT_NE(refused.err.find("not the weights"), std::string::npos) << refused.err;
  const Ran found = resume("run", {"--weights", path("moved.safetensors")});
  EXPECT_EQ(found.code, 0) << found.err;
  EXPECT_EQ(io::read_file(path("run") + "/model.safetensors"), result);
  EXPECT_EQ(Json::parse(io::read_text(path("run") + "/config.json"))["options"]["weights"], path("moved.safetensors"));
}

TEST_F(CliWeights, AreNotAddedToARunThatHadNone) {
  Words words = {"train", "-m", path("mlp.json"), "-d", data_, "-q", "--epochs", "1", "--out", path("none")};
  ASSERT_EQ(run_cli(words).code, 0);
  EXPECT_EQ(resume("none", {"--weights", path("thirds.safetensors")}).code, 1);
}

}  // namespace
}  // namespace descent::test
