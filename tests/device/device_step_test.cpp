// What a captured training step queues, counted on the simulated device: our kernels and library calls, for each preset
// and precision, both when cuBLASLt has every epilogue that we ask for and when it lacks some. A change that adds a
// launch to a step shows here.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "descent/device.h"
#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;

struct Row {
  const char *model, *precision;
  int all, some;  // nodes of a step, with all and with some epilogues
};

class Step : public ::testing::TestWithParam<Row> {};

int nodes(const Row& row, const char* epilogues) {
  // The documentation counts nodes for batches of 128; smaller batches that give the same count are faster.
  const std::string batch = row.model == std::string("mlp") ? "128" : "8";
  RunOptions options;
  options.environment = {{"SIMULATED_RACES", "off"}, {"SIMULATED_EPILOGUES", epilogues}};
  const Ran ran = run_cli({"bench", "--device", "cuda", "--train", row.model, "--precision", row.precision,
                           "--batch-size", batch, "--json"},
                          options);
  EXPECT_EQ(ran.code, 0) << ran.err;
  if (ran.code != 0) return -1;
  const Json step = Json::parse(ran.out);
  int launches = 0;
  std::string names;
  for (const Json& kernel : step["kernels"]) {
    launches += kernel["launches"].get<int>();
    names += kernel["launches"].dump() + " " + kernel["name"].get<std::string>() + "\n";
  }
  EXPECT_EQ(launches, step["nodes"].get<int>());
  const int expected = std::string(epilogues) == "all" ? row.all : row.some;
  EXPECT_EQ(launches, expected) << names;
  return launches;
}

TEST_P(Step, QueuesNoMoreThanItDid) {
  const bool convolutions = GetParam().model != std::string("mlp");
  const std::string why = cudnn_unavailable_reason(Device::cuda());
  if (convolutions && !why.empty()) GTEST_SKIP() << "counted with cuDNN: " << why;
  nodes(GetParam(), "all");
  nodes(GetParam(), "some");
}

INSTANTIATE_TEST_SUITE_P(Presets, Step,
                         ::testing::Values(Row{"mlp", "f32", 17, 17}, Row{"mlp", "tf32", 15, 15},
                                           Row{"mlp", "bf16", 25, 32}, Row{"lenet5", "f32", 25, 25},
                                           Row{"lenet5", "tf32", 23, 23}, Row{"lenet5", "bf16", 43, 48},
                                           Row{"cnn", "f32", 21, 21}, Row{"cnn", "tf32", 24, 24},
                                           Row{"cnn", "bf16", 39, 42}, Row{"cnn-bn", "f32", 44, 44},
                                           Row{"cnn-bn", "tf32", 42, 42}, Row{"cnn-bn", "bf16", 57, 59}),
                         [](const auto& info) {
                           std::string name = std::string(info.param.model) + "_" + info.param.precision;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace descent::test
