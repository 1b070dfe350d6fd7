// The layers that a JSON model may have: each is read, checked and measured before any module is made.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "descent/layers.h"

namespace descent::nn {

struct PlannedLayer {
  std::int64_t parameters = 0;  // elements of parameters and buffers
  Shape output;                 // without the batch axis
  std::function<std::unique_ptr<Module>()> make;
};

// `place` is "model.json: layers[3]"; throws FormatError beginning with it.
PlannedLayer plan_layer(const nlohmann::json& layer, const std::string& place, const Shape& input);

}  // namespace descent::nn
