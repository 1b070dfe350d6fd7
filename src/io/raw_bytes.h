// The elements of a CPU tensor as bytes, whatever their type.
#pragma once

#include <cstddef>
#include <span>

#include "descent/tensor.h"

namespace descent::io {

std::span<const std::byte> raw_bytes(const Tensor& tensor);

}  // namespace descent::io
