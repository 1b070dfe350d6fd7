// Everything that `descent train` can be told, in one list: from it come the options, config.json, the check that a
// resumed run is the same training, the report's table and the command line that reproduces the run.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli.h"
#include "descent/device.h"
#include "descent/shape.h"

namespace descent::cli {

struct TrainConfig {
  std::string model = "cnn";
  std::string data = "mnist";
  std::string weights;  // a safetensors file to start from; empty: random weights
  std::int64_t epochs = 3;
  std::int64_t batch_size = 128;
  std::int64_t accumulate = 1;
  std::string optimizer = "adam";
  double lr = 0;  // 0: by optimizer and model
  double momentum = -1;
  double weight_decay = -1;
  std::string schedule = "auto";
  std::int64_t warmup = 0;
  std::int64_t step_size = 0;
  double gamma = 0.1;
  std::string normalization = "auto";
  double label_smoothing = 0;
  double clip_norm = 0;
  double clip_value = 0;
  double validation = 0;
  std::int64_t early_stop = 0;
  std::uint64_t seed = 0;
  std::string dtype = "f32";
  std::string precision = "f32";
  std::int64_t limit_train = 0;
  std::int64_t limit_test = 0;
  // What doesn't change the result.
  std::string device = "auto";
  int threads = 0;
  bool deterministic = false;
  bool no_graph = false;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep = 3;
  std::int64_t metrics_every = 50;
};

// f(name, member, changes_result) for each of them.
template <class Config, class F>
void visit(Config& c, F&& f) {
  f("model", c.model, true);
  f("data", c.data, true);
  f("weights", c.weights, true);
  f("epochs", c.epochs, false);
  f("batch-size", c.batch_size, true);
  f("accumulate", c.accumulate, true);
  f("optimizer", c.optimizer, true);
  f("lr", c.lr, true);
  f("momentum", c.momentum, true);
  f("weight-decay", c.weight_decay, true);
  f("schedule", c.schedule, true);
  f("warmup", c.warmup, true);
  f("step-size", c.step_size, true);
  f("gamma", c.gamma, true);
  f("normalization", c.normalization, true);
  f("label-smoothing", c.label_smoothing, true);
  f("clip-norm", c.clip_norm, true);
  f("clip-value", c.clip_value, true);
  f("validation", c.validation, true);
  f("early-stop", c.early_stop, true);
  f("seed", c.seed, true);
  f("dtype", c.dtype, true);
  f("precision", c.precision, true);
  f("limit-train", c.limit_train, true);
  f("limit-test", c.limit_test, true);
  f("device", c.device, false);
  f("threads", c.threads, false);
  f("deterministic", c.deterministic, false);
  f("no-graph", c.no_graph, false);
  f("checkpoint-every", c.checkpoint_every, false);
  f("keep", c.keep, false);
  f("metrics-every", c.metrics_every, false);
}

void add_options(CLI::App& command, TrainConfig& config);

// Fills in what was left to be chosen: learning rate, schedule and normalization; checks what one option alone can't.
void resolve(TrainConfig& config);

nlohmann::json to_json(const TrainConfig& config);
// The configuration of a run that is resumed, with what the command line may change; throws InvalidArgument where it
// contradicts.
TrainConfig merge(const nlohmann::json& saved, const TrainConfig& given, const CLI::App& command,
                  const std::string& path);

std::string command_line(const TrainConfig& config, Device device);  // without --out; the device that it ran on
std::vector<std::pair<std::string, std::string>> rows(const TrainConfig& config);

}  // namespace descent::cli
