// Model files: safetensors whose metadata also hold the architecture, the class names and the normalization of the
// input, so that a file alone is enough to use its model. Nothing in them depends on time, threads or paths.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/utf8.h"
#include "descent/error.h"
#include "descent/nn.h"
#include "descent/train.h"
#include "descent/version.h"
#include "io/json.h"

namespace descent::train {
namespace {

using Json = nlohmann::json;

const std::string& field(const io::TensorFile& file, const std::string& path, const char* key) {
  const auto it = file.metadata.find(key);
  if (it == file.metadata.end()) {
    throw FormatError(fmt::format(
        "{}: no field \"{}\" in the metadata: not a model that train::save_model wrote; io::load_tensors reads "
        "weights alone",
        escape_path(path, 150), key));
  }
  return it->second;
}

std::vector<std::string> read_names(const std::string& text, const std::string& path) {
  const Json names = io::parse_json(text, path);
  std::vector<std::string> result;
  for (const Json& name : names) {
    if (!names.is_array() || !name.is_string()) {
      throw FormatError(fmt::format("{}: field \"class_names\": expected an array of strings", escape_path(path, 200)));
    }
    result.push_back(name.get<std::string>());
  }
  return result;
}

}  // namespace

void save_model(const std::string& path, nn::Module& model, const ModelInfo& info) {
  for (const std::string& name : info.class_names) {
    if (!is_utf8(name)) throw InvalidArgument(fmt::format("save_model: class name \"{}\" is not UTF-8", escape(name)));
  }
  io::save_module(
      path, model,
      {{"format", "pt"},  // the layout: PyTorch's names and axes
       {"descent", fmt::format("{}.{}.{}", DESCENT_VERSION_MAJOR, DESCENT_VERSION_MINOR, DESCENT_VERSION_PATCH)},
       {"model", info.model_json},
       {"dataset", info.dataset},
       {"class_names", Json(info.class_names).dump()},
       {"normalization", info.normalization.to_json()}});
}

LoadedModel load_model(const std::string& path, Device device, DType dtype) {
  const io::TensorFile file = io::load_tensors(path);
  LoadedModel loaded;
  loaded.info.model_json = field(file, path, "model");
  loaded.info.dataset = field(file, path, "dataset");
  loaded.info.class_names = read_names(field(file, path, "class_names"), path);
  loaded.info.normalization = data::Normalization::from_json(field(file, path, "normalization"));
  nn::Model model = nn::build_model(loaded.info.model_json, 0, path);
  const auto classes = static_cast<std::int64_t>(loaded.info.class_names.size());
  if (model.output != Shape{classes}) {
    throw FormatError(fmt::format("{}: field \"class_names\": {} names, the model's output is {}",
                                  escape_path(path, 200), classes, to_string(model.output)));
  }
  model.module->to(dtype);
  try {
    io::load_state_dict(*model.module, file);
  } catch (const InvalidArgument& error) {
    throw FormatError(fmt::format("{}: {}", escape_path(path, 150), error.what()));
  }
  loaded.module = std::move(model.module);
  loaded.module->to(device).eval();
  return loaded;
}

}  // namespace descent::train
