// All options of `descent train` that describe a training, in one list. From it come config.json, which every
// checkpoint contains too, the check that a resumed run is the same training, the report's table, and the command line
// that reproduces the run. Not in it are options about where and how to write (--out, --resume, --force, --quiet,
// --json), and --fallback, in place of which the dataset that was used is recorded.
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
  bool drop_last = false;
  std::string optimizer = "adam";
  double lr = 0;  // 0: by optimizer and schedule
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
  // Options that do not define the result.
  std::string device = "auto";
  int threads = 0;
  bool deterministic = false;
  bool no_graph = false;
  bool no_nan_guard = false;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep = 3;
  std::int64_t metrics_every = 50;
};

enum class Role : std::uint8_t {
  content,  // names something that a run identifies by its content: a resumed run may use another name for it
  result,   // affects the result: the same for all parts of a run
  free      // may change when a run is resumed
};

struct OptionInfo {
  const char* name;  // "batch-size": --batch-size, and batch_size in config.json
  Role role;
  bool always = true;  // false: absent in files of earlier versions, and then the default
};

// Calls f(OptionInfo, member) for each of them.
template <class Config, class F>
void visit(Config& c, F&& f) {
  f(OptionInfo{"model", Role::content}, c.model);
  f(OptionInfo{"data", Role::content}, c.data);
  f(OptionInfo{"weights", Role::content, false}, c.weights);
  f(OptionInfo{"epochs", Role::free}, c.epochs);
  f(OptionInfo{"batch-size", Role::result}, c.batch_size);
  f(OptionInfo{"accumulate", Role::result}, c.accumulate);
  f(OptionInfo{"drop-last", Role::result, false}, c.drop_last);
  f(OptionInfo{"optimizer", Role::result}, c.optimizer);
  f(OptionInfo{"lr", Role::result}, c.lr);
  f(OptionInfo{"momentum", Role::result}, c.momentum);
  f(OptionInfo{"weight-decay", Role::result}, c.weight_decay);
  f(OptionInfo{"schedule", Role::result}, c.schedule);
  f(OptionInfo{"warmup", Role::result}, c.warmup);
  f(OptionInfo{"step-size", Role::result}, c.step_size);
  f(OptionInfo{"gamma", Role::result}, c.gamma);
  f(OptionInfo{"normalization", Role::result}, c.normalization);
  f(OptionInfo{"label-smoothing", Role::result}, c.label_smoothing);
  f(OptionInfo{"clip-norm", Role::result}, c.clip_norm);
  f(OptionInfo{"clip-value", Role::result}, c.clip_value);
  f(OptionInfo{"validation", Role::result}, c.validation);
  f(OptionInfo{"early-stop", Role::result}, c.early_stop);
  f(OptionInfo{"seed", Role::result}, c.seed);
  f(OptionInfo{"dtype", Role::result}, c.dtype);
  f(OptionInfo{"precision", Role::result}, c.precision);
  f(OptionInfo{"limit-train", Role::result}, c.limit_train);
  f(OptionInfo{"limit-test", Role::result}, c.limit_test);
  f(OptionInfo{"device", Role::free}, c.device);
  f(OptionInfo{"threads", Role::free}, c.threads);
  f(OptionInfo{"deterministic", Role::free}, c.deterministic);
  f(OptionInfo{"no-graph", Role::free}, c.no_graph);
  f(OptionInfo{"no-nan-guard", Role::free, false}, c.no_nan_guard);
  f(OptionInfo{"checkpoint-every", Role::free}, c.checkpoint_every);
  f(OptionInfo{"keep", Role::free}, c.keep);
  f(OptionInfo{"metrics-every", Role::free}, c.metrics_every);
}

// An absolute and normalized path; symbolic links are not resolved.
std::string absolute_path(const std::string& path);

void add_options(CLI::App& command, TrainConfig& config);

// Fills in what was left open (learning rate, momentum, schedule, normalization), makes paths absolute, so that they
// are valid from any working directory, and checks combinations of options.
void resolve(TrainConfig& config);

nlohmann::json to_json(const TrainConfig& config);
// The configuration of a resumed run, with what the command line may change; throws InvalidArgument for other changes.
// The caller must check that the options of Role::content still name the same content.
TrainConfig merge(const nlohmann::json& saved, const TrainConfig& given, const CLI::App& command,
                  const std::string& path);
// Throws InvalidArgument unless `saved`, the options that a checkpoint was made with, give the same result.
void check_same_result(const nlohmann::json& saved, const TrainConfig& config, const std::string& path);

// Quotes a word for a POSIX shell.
std::string shell_quote(const std::string& word);
// The command, quoted for a POSIX shell, that reproduces this configuration: without --out, and with the device
// that was used instead of `auto`.
std::string command_line(const TrainConfig& config, Device device);
std::vector<std::pair<std::string, std::string>> rows(const TrainConfig& config);

}  // namespace descent::cli
