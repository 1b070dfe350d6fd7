// descent inspect: the layers, shapes, parameters and work of a model, or the tensors of any safetensors file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli.h"
#include "descent/error.h"
#include "descent/io.h"
#include "descent/nn.h"
#include "run_folder.h"
#include "weights.h"

namespace descent::cli {
namespace inspect_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent inspect cnn\n"
    "  descent inspect runs/first/model.safetensors\n"
    "  descent inspect my-model.json --json\n";

struct Options {
  std::string what;
  bool tensors = false, json = false;
};

template <class Dims>
std::string short_shape(const Dims& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : " x ", size);
  return text.empty() ? "scalar" : text;
}

std::string bytes_text(std::uint64_t bytes) {
  if (bytes < 10240) return fmt::format("{} B", bytes);
  if (bytes < (std::uint64_t{10} << 20U)) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 1048576);
}

std::string layer_table(const nn::Model& model) {
  const auto layers = nn::summarize(*model.module, model.input);
  std::size_t path = 4, type = 4, detail = 7, shape = 6;
  for (const auto& layer : layers) {
    path = std::max(path, layer.path.size());
    type = std::max(type, layer.type.size());
    detail = std::max(detail, layer.description.size());
    shape = std::max(shape, short_shape(layer.output).size());
  }
  std::string text = fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}}  {:>12}  {:>10}\n", "path", path, "type", type,
                                 "options", detail, "output", shape, "parameters", "MFLOP");
  for (const auto& layer : layers) {
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}}  {:>12}  {:>10.4f}\n", layer.path, path, layer.type, type,
                        layer.description, detail, short_shape(layer.output), shape, thousands(layer.parameters),
                        layer.flops / 1e6);
  }
  const std::int64_t parameters = model.module->parameter_count();
  return text + fmt::format("\n{}: input {}, {} parameters ({} as f32), {:.3f} MFLOP per image forward\n", model.name,
                            short_shape(model.input), thousands(parameters),
                            bytes_text(static_cast<std::uint64_t>(parameters) * 4),
                            model.module->flops(model.input) / 1e6);
}

template <class Dims>
Json dims(const Dims& shape) {
  return std::vector<std::int64_t>(shape.begin(), shape.end());
}

Json layer_json(const nn::Model& model) {
  Json layers = Json::array();
  for (const auto& layer : nn::summarize(*model.module, model.input)) {
    layers.push_back({{"path", layer.path},
                      {"type", layer.type},
                      {"options", layer.description},
                      {"input", dims(layer.input)},
                      {"output", dims(layer.output)},
                      {"parameters", layer.parameters},
                      {"flops", layer.flops}});
  }
  return {{"name", model.name},
          {"input", dims(model.input)},
          {"output", dims(model.output)},
          {"parameters", model.module->parameter_count()},
          {"flops", model.module->flops(model.input)},
          {"layers", std::move(layers)},
          {"json", Json::parse(model.json)}};
}

std::string tensor_table(const io::TensorFileInfo& info) {
  std::size_t name = 4, shape = 5, dtype = 5;
  std::uint64_t bytes = 0;
  for (const auto& tensor : info.tensors) {
    name = std::max(name, escape(tensor.name).size());
    shape = std::max(shape, short_shape(tensor.shape).size());
    dtype = std::max(dtype, escape(tensor.dtype).size());
    bytes += tensor.bytes;
  }
  std::string text =
      fmt::format("{:<{}}  {:<{}}  {:>{}}  {:>12}\n", "name", name, "dtype", dtype, "shape", shape, "bytes");
  for (const auto& tensor : info.tensors) {
    text += fmt::format("{:<{}}  {:<{}}  {:>{}}  {:>12}\n", escape(tensor.name), name, escape(tensor.dtype), dtype,
                        short_shape(tensor.shape), shape, thousands(static_cast<std::int64_t>(tensor.bytes)));
  }
  return text + fmt::format("\n{} tensors, {} in a file of {}\n", info.tensors.size(), bytes_text(bytes),
                            bytes_text(info.file_bytes));
}

Json tensor_json(const io::TensorFileInfo& info) {
  Json tensors = Json::array();
  for (const auto& tensor : info.tensors) {
    tensors.push_back(
        {{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", dims(tensor.shape)}, {"bytes", tensor.bytes}});
  }
  return {{"tensors", std::move(tensors)}, {"metadata", info.metadata}, {"file_bytes", info.file_bytes}};
}

// The architecture in a file's metadata. Other programs have fields called "model" too, so one that can't be
// parsed is treated as plain text.
std::optional<nn::Model> model_of(const io::TensorFileInfo& info, const std::string& path) {
  const auto field = info.metadata.find("model");
  if (field == info.metadata.end()) return std::nullopt;
  try {
    return nn::build_model(field->second, 0, path);
  } catch (const FormatError& error) {
    if (field->second.starts_with('{')) warn(error.what());
    return std::nullopt;
  }
}

int inspect_tensor_file(const Options& options, const std::string& path) {
  const io::TensorFileInfo info = io::inspect_tensors(path);
  const std::optional<nn::Model> model = model_of(info, path);
  if (options.json) {
    Json result = tensor_json(info);
    result["file"] = path;
    if (model) result["model"] = layer_json(*model);
    print_json(result);
    return kOk;
  }
  std::string text = path + "\n";
  for (const auto& [key, value] : info.metadata) {
    if (key == "model" && model) continue;
    text += fmt::format("  {}: {}\n", escape(key), escape_path(value, 160));
  }
  text += '\n';
  if (model) text += layer_table(*model);
  if (options.tensors || !model) text += (model ? "\n" : "") + tensor_table(info);
  print(text);
  return kOk;
}

int inspect(const Options& options) {
  const bool preset = is_preset(options.what);
  if (has_weights(options.what) || (!preset && !options.what.ends_with(".json"))) {
    std::error_code error;
    if (!std::filesystem::exists(options.what, error) && options.what.find_first_of("/.") == std::string::npos) {
      throw InvalidArgument(fmt::format("inspect: \"{}\": expected {}, a JSON file, a safetensors file or a run folder",
                                        escape_path(options.what), fmt::join(nn::preset_names(), ", ")));
    }
    return inspect_tensor_file(options, model_path(options.what));
  }
  const nn::Model model =
      preset ? nn::build_model(nn::preset(options.what), 0, options.what) : nn::load_model_json(options.what);
  if (options.json) {
    print_json(layer_json(model));
  } else {
    print(layer_table(model));
  }
  return kOk;
}

}  // namespace
}  // namespace inspect_command

void add_inspect(CLI::App& app, Run& run) {
  using namespace inspect_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "inspect", "Summarize a model or a safetensors file", kExamples);
  command->add_option("what", o->what, "mlp, lenet5, cnn, cnn-bn, a JSON file, a safetensors file or a run folder")
      ->required();
  command->add_flag("--tensors", o->tensors, "also list the tensors of a model file");
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return inspect(*o); }; });
}

}  // namespace descent::cli
