// Loads weights from model files, run folders and bare state_dicts.
#include "weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "descent/error.h"
#include "descent/io.h"
#include "json_text.h"
#include "run_folder.h"

namespace descent::cli {
namespace {

using data::Normalization;

// Removes the prefixes that DataParallel and torch.compile add to names, repeatedly, as they can wrap each other. A
// name that is nothing but a prefix stays, so this ends.
void strip_wrappers(io::TensorFile& file) {
  const auto strip = [&](std::string_view prefix) {
    const auto has_it = [&](const auto& item) {
      return item.first.size() > prefix.size() && item.first.starts_with(prefix);
    };
    if (file.tensors.empty() || !std::all_of(file.tensors.begin(), file.tensors.end(), has_it)) return false;
    for (auto& [name, tensor] : file.tensors) name.erase(0, prefix.size());
    return true;
  };
  while (strip("_orig_mod.") || strip("module.")) {
  }
}

void set_weights(const std::string& path, nn::Module& module, const io::TensorFile& file) {
  try {
    io::load_state_dict(module, file);
  } catch (const InvalidArgument& error) {
    throw FormatError(fmt::format("{}: {}", escape_path(path, 150), error.what()));
  }
}

std::vector<std::string> numbered(std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t c = 0; c < count; ++c) names.push_back(std::to_string(c));
  return names;
}

// The class names in the metadata of one of descent's files; empty if there are none or their number is different.
std::vector<std::string> names_in(const io::TensorFile& file, std::int64_t classes) {
  const auto field = file.metadata.find("class_names");
  if (field == file.metadata.end()) return {};
  const nlohmann::json json = parse_json(field->second);
  std::vector<std::string> names;
  if (!json.is_array()) return names;
  for (const auto& name : json) names.push_back(name.is_string() ? name.get<std::string>() : "");
  return static_cast<std::int64_t>(names.size()) == classes ? names : std::vector<std::string>();
}

// Parses MEAN,STD as in torchvision's Normalize, for pixels from 0 to 1; with several channels all means come first.
bool parse_mean_and_deviation(const std::string& text, Normalization& result) {
  std::vector<double> numbers;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    double value = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + comma, value);
    if (error != std::errc() || end != text.data() + comma || !std::isfinite(value)) return false;
    numbers.push_back(value);
    at = comma + 1;
  }
  const std::size_t channels = numbers.size() / 2;
  if (numbers.size() % 2 != 0) return false;
  result = {.kind = Normalization::Kind::zscore, .shift = {}, .scale = {}};
  for (std::size_t c = 0; c < channels; ++c) {
    if (!(numbers[channels + c] > 0)) return false;
    result.shift.push_back(numbers[c] * 255);
    result.scale.push_back(1 / (numbers[channels + c] * 255));
  }
  return true;
}

Normalization fit_normalization(const std::string& name, const data::DatasetPair* data) {
  const Normalization::Kind kind = data::parse_normalization(name);
  if (kind == Normalization::Kind::none) return {};
  if (data != nullptr) return Normalization::fit(kind, data->train);
  if (kind == Normalization::Kind::zscore) {
    throw InvalidArgument("--normalization zscore: without --data there are no images to fit it to: give MEAN,STD");
  }
  return {.kind = kind, .shift = {0.0}, .scale = {1.0 / 255}};
}

Normalization choose_normalization(const std::string& given, const io::TensorFile& file, const data::DatasetPair* data,
                                   std::vector<std::string>& assumed) {
  Normalization result;
  if (!given.empty()) return parse_mean_and_deviation(given, result) ? result : fit_normalization(given, data);
  const auto field = file.metadata.find("normalization");
  if (field != file.metadata.end()) return Normalization::from_json(field->second);
  if (data != nullptr) {
    assumed.push_back(fmt::format("normalization zscore, fitted to the training images of {}", data->train.name));
    return fit_normalization("zscore", data);
  }
  assumed.emplace_back("normalization minmax: pixels / 255");
  return fit_normalization("minmax", nullptr);
}

// A preset with as many classes as the data or, without data, as the last tensor of the file.
nn::Model preset_for(const std::string& name, const io::TensorFile& file, const data::DatasetPair* data) {
  if (data != nullptr) {
    const Shape& images = data->train.images.shape();
    return nn::build_model(nn::preset(name, {images[1], images[2], images[3]}, data->train.classes()), 0, name);
  }
  nn::Model model = nn::build_model(nn::preset(name), 0, name);
  const Tensor* last = file.find(model.module->state_dict().back().name);
  if (last == nullptr || last->rank() != 1 || Shape{last->size(0)} == model.output) return model;
  return nn::build_model(nn::preset(name, model.input, last->size(0)), 0, name);
}

UsableModel load_bare(const ModelOptions& options, const data::DatasetPair* data, Device device, DType dtype) {
  check_architecture(options.model);
  UsableModel usable;
  usable.path = model_path(options.weights);
  io::TensorFile file = io::load_tensors(usable.path);
  strip_wrappers(file);
  nn::Model model =
      is_preset(options.model) ? preset_for(options.model, file, data) : nn::load_model_json(options.model, 0);
  if (model.output.rank() != 1) {
    throw InvalidArgument(fmt::format("--model {}: its output is {}, expected a number for each class",
                                      escape(options.model, 100), to_string(model.output)));
  }
  model.module->to(dtype);
  set_weights(usable.path, *model.module, file);
  train::ModelInfo& info = usable.loaded.info;
  info.model_json = model.json;
  const std::int64_t classes = model.output[0];
  info.class_names = names_in(file, classes);
  if (info.class_names.empty() && data != nullptr && data->train.classes() == classes) {
    info.class_names = data->train.class_names;
    usable.assumed.push_back(fmt::format("class names of {}", data->train.name));
  } else if (info.class_names.empty()) {
    info.class_names = numbered(classes);
    usable.assumed.push_back(fmt::format("classes called 0 to {}", classes - 1));
  }
  info.normalization = choose_normalization(options.normalization, file, data, usable.assumed);
  const auto dataset = file.metadata.find("dataset");
  info.dataset = dataset != file.metadata.end() ? dataset->second : "";
  usable.loaded.module = std::move(model.module);
  usable.loaded.module->to(device).eval();
  return usable;
}

}  // namespace

bool is_preset(const std::string& name) {
  const auto names = nn::preset_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool has_weights(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return holds_run(path) || std::filesystem::exists(path + "/model.safetensors", error);
  }
  if (!std::filesystem::is_regular_file(path, error)) return false;
  if (!path.ends_with(".json")) return true;
  try {
    io::inspect_tensors(path);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void check_architecture(const std::string& model) {
  std::error_code error;
  if (is_preset(model) || model.find('/') != std::string::npos || model.ends_with(".json")) return;
  if (std::filesystem::exists(model, error)) return;
  throw InvalidArgument(
      fmt::format("--model \"{}\": expected {} or a JSON file", escape(model), fmt::join(nn::preset_names(), ", ")));
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--model,-m", options.model,
                  "model.safetensors or a run folder; with --weights: a preset, or a JSON file with layers")
      ->required();
  command.add_option("--weights", options.weights,
                     "safetensors file with the weights of --model alone: a state_dict of PyTorch's");
  command.add_option("--normalization", options.normalization,
                     "for --weights: none, minmax, zscore (fitted to --data), or MEAN,STD of pixels from 0 to 1 "
                     "(default: what the file says, else zscore of --data, else pixels / 255)");
}

UsableModel load_usable_model(const ModelOptions& options, const data::DatasetPair* data, Device device, DType dtype) {
  if (!options.weights.empty()) {
    UsableModel usable = load_bare(options, data, device, dtype);
    for (const std::string& what : usable.assumed) say(fmt::format("assumed: {}", what));
    return usable;
  }
  if (!options.normalization.empty()) {
    throw InvalidArgument("--normalization: it is for --weights; a model file says how its input was normalized");
  }
  if ((is_preset(options.model) || options.model.ends_with(".json")) && !has_weights(options.model)) {
    throw InvalidArgument(
        fmt::format("--model {}: an architecture has no weights: add --weights FILE, or give a "
                    "model.safetensors or a run folder",
                    escape(options.model, 100)));
  }
  UsableModel usable;
  usable.path = model_path(options.model);
  usable.loaded = train::load_model(usable.path, device, dtype);
  return usable;
}

void load_weights(const std::string& path, nn::Module& module) {
  const std::string file_path = model_path(path);
  io::TensorFile file = io::load_tensors(file_path);
  strip_wrappers(file);
  set_weights(file_path, module, file);
}

}  // namespace descent::cli
