// The epilogues that every backend computes in the pass of an op. nn::Sequential merges modules by this table, ops take
// what is not in it in parts, and a backend implements what is.
#pragma once

#include <cstdint>

#include "descent/epilogue.h"

namespace descent {

enum class Fusible : std::uint8_t { linear, conv2d, batch_norm };

inline constexpr Epilogue kReluMaxPool{Activation::relu, true};

inline constexpr struct {
  Fusible op;
  Epilogue epilogue;
} kFusions[] = {
    {Fusible::linear, Activation::relu}, {Fusible::linear, Activation::gelu_tanh}, {Fusible::conv2d, Activation::relu},
    {Fusible::conv2d, kReluMaxPool},     {Fusible::batch_norm, Activation::relu},  {Fusible::batch_norm, kReluMaxPool},
};

constexpr bool fuses(Fusible op, const Epilogue& epilogue) {
  if (epilogue == Epilogue()) return true;
  for (const auto& fusion : kFusions) {
    if (fusion.op == op && fusion.epilogue == epilogue) return true;
  }
  return false;
}

}  // namespace descent
