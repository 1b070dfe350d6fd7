// The elements of a CPU tensor as bytes, whatever their type.
#pragma once

#include <cstddef>
#include <span>

#include "core/tensor_impl.h"

namespace descent::io {

inline std::span<const std::byte> raw_bytes(const Tensor& cpu) { return {cpu.impl()->data(), cpu.bytes()}; }
inline std::span<std::byte> raw_bytes(Tensor& cpu) { return {cpu.impl()->data(), cpu.bytes()}; }

}  // namespace descent::io
