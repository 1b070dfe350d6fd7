// The models that come with descent, as JSON; sizes that follow from the input are left to be inferred.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "descent/error.h"
#include "descent/model.h"

namespace descent::nn {
namespace {

constexpr std::array<std::string_view, 4> kPresets{"mlp", "lenet5", "cnn", "cnn-bn"};

constexpr std::string_view kMlp = R"(
  {"type": "Flatten"},
  {"type": "Linear", "out_features": 512},
  {"type": "ReLU"},
  {"type": "Linear", "out_features": 512},
  {"type": "ReLU"},
)";

// LeCun et al., 1998, with ReLU and max-pooling as it is trained today.
constexpr std::string_view kLenet5 = R"(
  {"type": "Conv2d", "out_channels": 6, "kernel_size": 5, "padding": 2},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Conv2d", "out_channels": 16, "kernel_size": 5},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Flatten"},
  {"type": "Linear", "out_features": 120},
  {"type": "ReLU"},
  {"type": "Linear", "out_features": 84},
  {"type": "ReLU"},
)";

constexpr std::string_view kCnn = R"(
  {"type": "Conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Flatten"},
  {"type": "Linear", "out_features": 128},
  {"type": "ReLU"},
)";

constexpr std::string_view kCnnBn = R"(
  {"type": "Conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
  {"type": "BatchNorm2d"},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1},
  {"type": "BatchNorm2d"},
  {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Flatten"},
  {"type": "Linear", "out_features": 128},
  {"type": "ReLU"},
  {"type": "Dropout", "p": 0.25},
)";

std::string_view layers_of(std::string_view name) {
  if (name == "mlp") return kMlp;
  if (name == "lenet5") return kLenet5;
  if (name == "cnn") return kCnn;
  if (name == "cnn-bn") return kCnnBn;
  throw InvalidArgument(fmt::format("preset: \"{}\", expected one of {}", escape(name), fmt::join(kPresets, ", ")));
}

}  // namespace

std::span<const std::string_view> preset_names() { return kPresets; }

std::string preset(std::string_view name) { return preset(name, {28, 28, 1}, 10); }

std::string preset(std::string_view name, const Shape& input, std::int64_t classes) {
  return fmt::format(
      "{{\"name\": \"{}\", \"input\": [{}], \"layers\": [{}  {{\"type\": \"Linear\", \"out_features\": {}}}\n]}}\n",
      name, fmt::join(input.begin(), input.end(), ", "), layers_of(name), classes);
}

}  // namespace descent::nn
