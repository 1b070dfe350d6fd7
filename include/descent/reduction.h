// How a loss combines the losses of its elements or rows.
#pragma once

#include <cstdint>

#include "descent/export.h"

namespace descent {

enum class Reduction : std::uint8_t { none, mean, sum };

}  // namespace descent
