// Builds models from JSON: checks and sizes are complete before anything is built.
#include "descent/model.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "descent/error.h"
#include "descent/init.h"
#include "descent/io.h"
#include "io/json.h"
#include "nn/json_fields.h"
#include "nn/json_layers.h"
#include "nn/shapes.h"

namespace descent::nn {
namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 22;
constexpr std::size_t kMaxLayers = 1000;
constexpr std::array<std::string_view, 3> kFields{"name", "input", "layers"};

Shape read_input(const JsonFields& fields) {
  const nlohmann::json& dims = fields.array("input");
  std::vector<std::int64_t> sizes;
  for (const auto& dim : dims) {
    const bool good = dim.is_number_unsigned() && dim.get<std::uint64_t>() >= 1 &&
                      dim.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxSize);
    if (!good || dims.size() > 7) break;
    sizes.push_back(dim.get<std::int64_t>());
  }
  if (sizes.empty() || sizes.size() != dims.size()) {
    fields.fail(fmt::format("\"input\" is not a list of 1 to 7 sizes from 1 to {}, such as [28, 28, 1]", kMaxSize));
  }
  try {
    Shape shape{std::span<const std::int64_t>(sizes)};
    if (shape.numel() <= kMaxActivations) return shape;
  } catch (const InvalidArgument&) {
    // Too many elements for a Shape: the same error.
  }
  fields.fail(fmt::format("\"input\" has more than {} elements", kMaxActivations));
}

std::vector<PlannedLayer> plan_model(const JsonFields& fields, const std::string& source, const Shape& input) {
  const nlohmann::json& layers = fields.array("layers");
  if (layers.empty() || layers.size() > kMaxLayers) {
    fields.fail(fmt::format("\"layers\" has {} entries, expected 1 to {}", layers.size(), kMaxLayers));
  }
  std::vector<PlannedLayer> plan;
  Shape shape = input;
  std::int64_t parameters = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string place = fmt::format("{}: layers[{}]", source, i);
    plan.push_back(plan_layer(layers[i], place, shape));
    shape = plan.back().output;
    if (plan.back().parameters > kMaxParameters - parameters) {
      throw FormatError(fmt::format("{} ({}): the model would have more than {} parameters", place,
                                    layers[i]["type"].get_ref<const std::string&>(), kMaxParameters));
    }
    parameters += plan.back().parameters;
    if (shape.numel() > kMaxActivations) {
      throw FormatError(fmt::format("{} ({}): its output {} has more than {} elements", place,
                                    layers[i]["type"].get_ref<const std::string&>(), to_string(shape),
                                    kMaxActivations));
    }
  }
  return plan;
}

}  // namespace

Model build_model(std::string_view json, std::uint64_t seed, const std::string& source) {
  const std::string place = escape_path(source, 200);
  if (json.size() > kMaxText) throw FormatError(fmt::format("{}: more than {} bytes of JSON", place, kMaxText));
  const nlohmann::json document = io::parse_json(json, source);
  const JsonFields fields(document, place, kFields);
  Model model;
  model.name = fields.text("name", "model");
  if (model.name.size() > 200) fields.fail("\"name\" is longer than 200 bytes");
  model.input = read_input(fields);
  const std::vector<PlannedLayer> plan = plan_model(fields, place, model.input);
  const init::SeedScope scope(seed);
  model.module = std::make_unique<Sequential>();
  for (const PlannedLayer& layer : plan) model.module->add(layer.make());
  model.output = model.module->output_shape(model.input);
  model.json = to_json(*model.module, model.name, model.input);
  return model;
}

Model load_model_json(const std::string& path_or_text, std::uint64_t seed) {
  const std::size_t first = path_or_text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && path_or_text[first] == '{') return build_model(path_or_text, seed);
  return build_model(io::read_text(path_or_text, kMaxText), seed, path_or_text);
}

}  // namespace descent::nn
