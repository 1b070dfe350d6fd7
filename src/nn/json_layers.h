// The layers that a JSON model may have: each is read, checked and sized before any module is created.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "descent/layers.h"

namespace descent::nn {

struct PlannedLayer {
  std::int64_t parameters = 0;  // elements of parameters and buffers, approximate for norms
  Shape output;                 // without the batch axis
  std::function<std::unique_ptr<Module>()> make;
};

// `place` is "model.json: layers[3]"; errors are FormatErrors that begin with it.
PlannedLayer plan_layer(const nlohmann::json& layer, const std::string& place, const Shape& input);

}  // namespace descent::nn
