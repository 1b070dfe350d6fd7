// The options of `descent train`: parsing, defaults, JSON, comparison on resume, and the command line.
#include "train_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <type_traits>

#include "bytes_json.h"
#include "descent/data.h"
#include "descent/error.h"
#include "descent/nn.h"
#include "descent/optim.h"

namespace descent::cli {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::string> names_of(std::span<const std::string_view> names) { return {names.begin(), names.end()}; }

std::string key_of(std::string name) {
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

template <class T>
Json json_of(const T& value) {
  return value;
}
Json json_of(const std::string& value) { return bytes_to_json(value); }

template <class T>
T value_of(const Json& json) {
  if constexpr (std::is_same_v<T, std::string>) {
    return bytes_from_json(json);
  } else {
    return json.get<T>();
  }
}

template <class T>
std::string text_of(const T& value) {
  return fmt::format("{}", value);
}

template <class T>
std::string option(const std::string& name, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? " --" + name : " --" + name + "=false";
  } else {
    const std::string text = text_of(value);
    // A word that begins with a dash would be taken for an option.
    if (text.starts_with('-')) return fmt::format(" --{}={}", name, shell_quote(text));
    return fmt::format(" --{} {}", name, shell_quote(text));
  }
}

template <class Names>
bool is_one_of(const std::string& name, const Names& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Makes a path absolute by the rule by which it is opened: one of `names` is no path, nor is a word without '/' for
// which no file exists.
template <class Names>
void make_absolute(std::string& path, const Names& names) {
  std::error_code error;
  if (path.empty() || is_one_of(path, names)) return;
  if (path.find('/') != std::string::npos || fs::exists(path, error)) path = absolute_path(path);
}

// Replaces `auto` and relative paths, as far as that depends on no other option.
void settle(TrainConfig& c) {
  if (c.schedule == "auto" || c.schedule == "one-cycle") c.schedule = "onecycle";  // its name in 0.1
  if (c.normalization == "auto") c.normalization = "zscore";
  make_absolute(c.model, nn::preset_names());
  make_absolute(c.data, data::dataset_names());
  make_absolute(c.weights, std::vector<std::string>());
}

const Json& field(const Json& saved, const OptionInfo& info, const std::string& path) {
  static const Json defaults = to_json(TrainConfig());
  if (!saved.is_object()) throw FormatError(fmt::format("{}: expected an object", escape_path(path, 200)));
  const auto found = saved.find(key_of(info.name));
  if (found != saved.end()) return *found;
  if (info.always) {
    throw FormatError(fmt::format("{}: field \"{}\" is missing", escape_path(path, 200), key_of(info.name)));
  }
  return defaults.at(key_of(info.name));
}

template <class T>
T read_field(const Json& saved, const OptionInfo& info, const std::string& path) {
  try {
    return value_of<T>(field(saved, info, path));
  } catch (const Json::exception&) {
    throw FormatError(fmt::format("{}: field \"{}\" has the wrong type", escape_path(path, 200), key_of(info.name)));
  }
}

double default_lr(const TrainConfig& c) {
  if (c.optimizer == "sgd") return 0.05;
  if (c.optimizer == "rmsprop") return 5e-4;
  const double usual = optim::default_lr(c.optimizer);
  return c.schedule == "onecycle" && c.optimizer.starts_with("adam") ? 3 * usual : usual;
}

}  // namespace

std::string shell_quote(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (error) return path;                                           // the working directory may be gone
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // "folder/"
  return absolute.string();
}

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
  command
      .add_flag("--drop-last", c.drop_last,
                "leave out the short batch at the end of an epoch (in each epoch other images)")
      ->group("Optimization");
  command.add_option("--optimizer", c.optimizer, fmt::format("{}", fmt::join(optim::optimizer_names(), ", ")))
      ->check(any_of(names_of(optim::optimizer_names())))
      ->group("Optimization");
  command.add_option("--lr", c.lr, "learning rate, with onecycle its peak (default: by optimizer)")
      ->check(positive_real())
      ->group("Optimization");
  command.add_option("--momentum", c.momentum, "of sgd and rmsprop (default: 0.9 for sgd)")
      ->check(real_in(0, 1, false))
      ->group("Optimization");
  command.add_option("--weight-decay", c.weight_decay, "default: the optimizer's own")
      ->check(real_in(0, 1e6, true))
      ->group("Optimization");
  command.add_option("--schedule", c.schedule, "constant, step, cosine, onecycle or auto (onecycle)")
      ->check(any_of({"auto", "constant", "step", "cosine", "onecycle"}))
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
  add_threads(command, c.threads)->group("Machine");
  command.add_flag("--deterministic", c.deterministic, "refuse what isn't (everything on the CPU is)")
      ->group("Machine");
  command.add_flag("--no-graph", c.no_graph, "on CUDA: queue every kernel of a step, instead of replaying a graph")
      ->group("Machine");
  command.add_flag("--no-nan-guard", c.no_nan_guard, "go on with NaN and Inf")->group("Machine");
  command.add_option("--checkpoint-every", c.checkpoint_every, "also save every N steps")
      ->check(positive_count())
      ->group("Run folder");
  command.add_option("--keep", c.keep, "checkpoints to keep")->check(positive_count())->group("Run folder");
  command.add_option("--metrics-every", c.metrics_every, "steps per line of metrics.jsonl")
      ->check(positive_count())
      ->group("Run folder");
}

void resolve(TrainConfig& c) {
  settle(c);
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
  visit(config, [&](const OptionInfo& info, const auto& value) { json[key_of(info.name)] = json_of(value); });
  return json;
}

TrainConfig merge(const Json& saved, const TrainConfig& given, const CLI::App& command, const std::string& path) {
  TrainConfig merged = given;
  settle(merged);
  visit(merged, [&](const OptionInfo& info, auto& value) {
    auto before = read_field<std::remove_reference_t<decltype(value)>>(saved, info, path);
    if (command.get_option(fmt::format("--{}", info.name))->count() == 0) {
      value = std::move(before);
    } else if (info.role == Role::result && !(before == value)) {
      throw InvalidArgument(fmt::format("--{} is {}, the run was started with {}: leave it out, or start a new run",
                                        info.name, value, escape(text_of(before))));
    }
  });
  return merged;
}

void check_same_result(const Json& saved, const TrainConfig& config, const std::string& path) {
  visit(config, [&](const OptionInfo& info, const auto& value) {
    if (info.role != Role::result) return;
    const auto before = read_field<std::remove_cvref_t<decltype(value)>>(saved, info, path);
    if (before == value) return;
    throw InvalidArgument(fmt::format("--resume: {} was made with --{} {}, config.json beside it says {}",
                                      escape_path(path, 200), info.name, escape(text_of(before)),
                                      escape(text_of(value))));
  });
}

std::string command_line(const TrainConfig& config, Device device) {
  const Json defaults = to_json(TrainConfig());
  TrainConfig ran = config;
  if (ran.device == "auto") ran.device = device.type == DeviceType::cpu ? "cpu" : "cuda";
  std::string line = "descent train";
  visit(ran, [&](const OptionInfo& info, const auto& value) {
    const std::string name = info.name;
    const bool always = name == "model" || name == "data" || name == "epochs" || name == "seed";
    if (always || defaults.at(key_of(name)) != json_of(value)) line += option(name, value);
  });
  return line;
}

std::vector<std::pair<std::string, std::string>> rows(const TrainConfig& config) {
  std::vector<std::pair<std::string, std::string>> table;
  visit(config, [&](const OptionInfo& info, const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
      table.emplace_back(info.name, value < 0 ? "the optimizer's own" : text_of(value));
    } else {
      table.emplace_back(info.name, text_of(value));
    }
  });
  return table;
}

}  // namespace descent::cli
