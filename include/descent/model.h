// Models as JSON: {"name": "...", "input": [28, 28, 1], "layers": [{"type": "Linear", "out_features": 10}, ...]}.
// docs/models.md lists every layer and field. Errors name the layer and the field and are thrown before any allocation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "descent/layers.h"

namespace descent::nn {

inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 31;   // limit for a model from JSON
inline constexpr std::int64_t kMaxActivations = std::int64_t{1} << 31;  // elements of one layer's output, one example

struct Model {
  std::string name;
  Shape input;       // without the batch axis: [H, W, C]
  Shape output;      // without the batch axis: [classes]
  std::string json;  // canonical: one line, every field that is not at its default, inferred sizes included
  std::unique_ptr<Sequential> module;
};

// Builds the model on the CPU in f32, with weights and dropout seeded by `seed`. Errors begin with `source`.
// Throws FormatError: "model.json: layers[3] (Conv2d): unknown field \"kernel\"; did you mean \"kernel_size\"?"
DESCENT_API Model build_model(std::string_view json, std::uint64_t seed = 0, const std::string& source = "model");
// `path_or_text`: JSON text if its first non-space character is '{', else the path of a file (IoError if unreadable).
DESCENT_API Model load_model_json(const std::string& path_or_text, std::uint64_t seed = 0);
// The canonical JSON of a Sequential that was built in C++; throws InvalidArgument for a layer without a JSON form.
DESCENT_API std::string to_json(const Sequential& module, const std::string& name, const Shape& input);

// The JSON of a built-in model; throws InvalidArgument for an unknown name.
DESCENT_API std::string preset(std::string_view name);
DESCENT_API std::span<const std::string_view> preset_names();  // "mlp", "lenet5", "cnn", "cnn-bn"
// A preset adapted to other images and classes: replaces its "input" and the last Linear's "out_features".
DESCENT_API std::string preset(std::string_view name, const Shape& input, std::int64_t classes);

}  // namespace descent::nn
