// Models as JSON: {"name": "...", "input": [28, 28, 1], "layers": [{"type": "Linear", "out_features": 10}, ...]}.
// docs/models.md lists every layer and field. Errors point at the layer and the field and come before any allocation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "descent/layers.h"

namespace descent::nn {

inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 31;   // of a model from JSON
inline constexpr std::int64_t kMaxActivations = std::int64_t{1} << 31;  // elements of one layer's output, one example

struct Model {
  std::string name;
  Shape input;       // without the batch axis: [H, W, C]
  Shape output;      // without the batch axis: [classes]
  std::string json;  // canonical: one line, every field that is not at its default, inferred sizes written out
  std::unique_ptr<Sequential> module;
};

// Builds the model on the CPU in f32, its weights and dropout seeded by `seed`. `source` begins the errors.
// Throws FormatError: "model.json: layers[3] (Conv2d): unknown field \"kernel\"; did you mean \"kernel_size\"?"
DESCENT_API Model build_model(std::string_view json, std::uint64_t seed = 0, const std::string& source = "model");
// `path_or_text`: text when its first character that is not a space is '{', else the path of a file.
DESCENT_API Model load_model_json(const std::string& path_or_text, std::uint64_t seed = 0);
// The canonical JSON of a Sequential that was built in C++.
DESCENT_API std::string to_json(const Sequential& module, const std::string& name, const Shape& input);

// The JSON of a model that comes with descent; throws InvalidArgument for a name that isn't one.
DESCENT_API std::string preset(std::string_view name);
DESCENT_API std::span<const std::string_view> preset_names();  // "mlp", "lenet5", "cnn", "cnn-bn"
// A preset for other images and classes: its "input" and the last Linear's "out_features" replaced.
DESCENT_API std::string preset(std::string_view name, const Shape& input, std::int64_t classes);

}  // namespace descent::nn
