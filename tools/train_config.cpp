// See train_config.h.
#include "train_config.h"

#include <fmt/format.h>

#include <type_traits>

#include "descent/error.h"
#include "descent/optim.h"

namespace descent::cli {
namespace {

using Json = nlohmann::json;

std::vector<std::string> names_of(std::span<const std::string_view> names) { return {names.begin(), names.end()}; }

std::string key_of(std::string name) {
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

template <class T>
std::string text_of(const T& value) {
  return fmt::format("{}", value);
}

double default_lr(const TrainConfig& c) {
  if (c.optimizer == "sgd") return 0.05;
  if (c.optimizer == "rmsprop") return 5e-4;
  return c.schedule == "one-cycle" ? 3e-3 : 1e-3;
}

}  // namespace

void add_options(CLI::App& command, TrainConfig& c) {
  command.add_option("--model,-m", c.model, "mlp, lenet5, cnn, cnn-bn, or a JSON file with layers")->group("Job");
  command.add_option("--data,-d", c.data, "mnist, fashion-mnist, synthetic, or a folder with IDX files")->group("Job");
  command
      .add_option("--weights", c.weights,
                  "start from the weights in this safetensors file (fine-tuning); default: random")
      ->group("Job");
  command.add_option("--epochs,-e", c.epochs, "passes over the training images")->check(positive_count())->group("Job");
  command.add_option("--seed,-s", c.seed, "of weights, order, dropout and split")->check(count())->group("Job");
  command.add_option("--limit-train", c.limit_train, "use only the first N training images")
      ->check(positive_count())
      ->group("Job");
  command.add_option("--limit-test", c.limit_test, "use only the first N test images")
      ->check(positive_count())
      ->group("Job");
  command
      .add_option("--validation", c.validation,
                  "part of the training images, 0 to below 1, set aside; the best epoch on them is kept")
      ->check(real_in(0, 1, false))
      ->group("Job");
  command.add_option("--early-stop", c.early_stop, "end after N epochs without a better validation loss")
      ->check(positive_count())
      ->group("Job");

  command.add_option("--batch-size,-b", c.batch_size, "images per batch")
      ->check(positive_count())
      ->group("Optimization");
  command.add_option("--accumulate", c.accumulate, "batches per optimizer step")
      ->check(positive_count())
      ->group("Optimization");
  command.add_option("--optimizer", c.optimizer, "sgd, rmsprop, adam or adamw")
      ->check(any_of(names_of(optim::optimizer_names())))
      ->group("Optimization");
  command.add_option("--lr", c.lr, "learning rate, with one-cycle its peak (default: by optimizer)")
      ->check(positive_real())
      ->group("Optimization");
  command.add_option("--momentum", c.momentum, "of sgd and rmsprop (default: 0.9 for sgd)")
      ->check(real_in(0, 1, false))
      ->group("Optimization");
  command.add_option("--weight-decay", c.weight_decay, "default: the optimizer's own")
      ->check(real_in(0, 1e6, true))
      ->group("Optimization");
  command.add_option("--schedule", c.schedule, "constant, step, cosine, one-cycle or auto (one-cycle)")
      ->check(any_of({"auto", "constant", "step", "cosine", "one-cycle"}))
      ->group("Optimization");
  command.add_option("--warmup", c.warmup, "steps of linear warm-up before cosine")
      ->check(count())
      ->group("Optimization");
  command
      .add_option("--step-size", c.step_size,
                  "steps after which schedule step multiplies by gamma (default: a third of all)")
      ->check(positive_count())
      ->group("Optimization");
  command.add_option("--gamma", c.gamma, "factor of schedule step")->check(real_in(0, 1, true))->group("Optimization");
  command.add_option("--label-smoothing", c.label_smoothing, "0 to below 1")
      ->check(real_in(0, 1, false))
      ->group("Optimization");
  command.add_option("--clip-norm", c.clip_norm, "largest norm of the whole gradient; 0: off")
      ->check(real_in(0, 1e30, true))
      ->group("Optimization");
  command.add_option("--clip-value", c.clip_value, "largest element of the gradient; 0: off")
      ->check(real_in(0, 1e30, true))
      ->group("Optimization");
  command.add_option("--normalization", c.normalization, "none, minmax, zscore or auto (zscore)")
      ->check(any_of({"auto", "none", "minmax", "zscore"}))
      ->group("Optimization");
  command.add_option("--dtype", c.dtype, "f32 or f64")->check(any_of({"f32", "f64"}))->group("Optimization");
  command
      .add_option("--precision", c.precision,
                  "f32; tf32: products of f32 rounded for the tensor cores; bf16: activations stored in bf16 beside "
                  "f32 weights")
      ->check(any_of({"f32", "tf32", "bf16"}))
      ->group("Optimization");

  command.add_option("--device", c.device, "auto, cpu, cuda or cuda:N")->group("Machine");
  command.add_option("--threads", c.threads, "CPU threads; 0: one per core. The result doesn't depend on it")
      ->check(CLI::Range(0, 4096))
      ->group("Machine");
  command.add_flag("--deterministic", c.deterministic, "refuse what isn't (everything on the CPU is)")
      ->group("Machine");
  command.add_flag("--no-graph", c.no_graph, "on CUDA: queue every kernel of a step, instead of replaying a graph")
      ->group("Machine");
  command.add_option("--checkpoint-every", c.checkpoint_every, "also save every N steps")
      ->check(positive_count())
      ->group("Run folder");
  command.add_option("--keep", c.keep, "checkpoints to keep")->check(positive_count())->group("Run folder");
  command.add_option("--metrics-every", c.metrics_every, "steps per line of metrics.jsonl")
      ->check(positive_count())
      ->group("Run folder");
}

void resolve(TrainConfig& c) {
  if (c.schedule == "auto") c.schedule = "one-cycle";
  if (c.normalization == "auto") c.normalization = "zscore";
  if (c.lr == 0) c.lr = default_lr(c);
  if (c.momentum < 0 && c.optimizer == "sgd") c.momentum = 0.9;
  if (c.momentum >= 0 && c.optimizer != "sgd" && c.optimizer != "rmsprop") {
    throw InvalidArgument(fmt::format("--momentum: {} has none; it is for sgd and rmsprop", c.optimizer));
  }
  if (c.early_stop > 0 && c.validation == 0) {
    throw InvalidArgument("--early-stop: needs --validation, for example --validation 0.1");
  }
  if (c.precision != "f32" && c.dtype == "f64") {
    throw InvalidArgument(fmt::format("--precision {}: it is for --dtype f32, f64 is never rounded", c.precision));
  }
  if (c.warmup > 0 && c.schedule != "cosine") {
    throw InvalidArgument(fmt::format("--warmup: schedule {} has none; it is for cosine", c.schedule));
  }
}

Json to_json(const TrainConfig& config) {
  Json json = Json::object();
  visit(config, [&](const char* name, const auto& value, bool) { json[key_of(name)] = value; });
  return json;
}

TrainConfig merge(const Json& saved, const TrainConfig& given, const CLI::App& command, const std::string& path) {
  if (!saved.is_object()) throw FormatError(fmt::format("{}: expected an object", escape(path)));
  TrainConfig merged = given;
  Json mine = to_json(given);
  visit(merged, [&](const char* name, auto& value, bool changes_result) {
    const auto old = saved.find(key_of(name));
    if (old == saved.end()) throw FormatError(fmt::format("{}: field \"{}\" is missing", escape(path), key_of(name)));
    const bool asked = command.get_option(fmt::format("--{}", name))->count() > 0;
    try {
      auto before = old->get<std::remove_reference_t<decltype(value)>>();
      if (!asked) {
        value = std::move(before);
      } else if (changes_result && !(before == value)) {
        throw InvalidArgument(fmt::format("--{} is {}, the run was started with {}: leave it out, or start a new run",
                                          name, value, before));
      }
    } catch (const Json::exception&) {
      throw FormatError(fmt::format("{}: field \"{}\" has the wrong type", escape(path), key_of(name)));
    }
  });
  return merged;
}

std::string command_line(const TrainConfig& config, Device device) {
  const TrainConfig defaults;
  const Json base = to_json(defaults);
  std::string line = fmt::format("descent train --model {} --data {} --epochs {} --seed {}", config.model, config.data,
                                 config.epochs, config.seed);
  visit(config, [&](const std::string& name, const auto& value, bool changes_result) {
    if (!changes_result || name == "model" || name == "data" || name == "seed" || base[key_of(name)] == Json(value))
      return;
    line += fmt::format(" --{} {}", name, text_of(value));
  });
  return line + (device.type == DeviceType::cpu ? " --device cpu" : " --device cuda");
}

std::vector<std::pair<std::string, std::string>> rows(const TrainConfig& config) {
  std::vector<std::pair<std::string, std::string>> table;
  visit(config, [&](const char* name, const auto& value, bool) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
      table.emplace_back(name, value < 0 ? "the optimizer's own" : text_of(value));
    } else {
      table.emplace_back(name, text_of(value));
    }
  });
  return table;
}

}  // namespace descent::cli
