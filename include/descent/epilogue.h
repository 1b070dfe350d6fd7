// What conv2d and batch_norm do to their result in the same pass, where a backend has such a pass; else the op takes
// several. The result is the same, with the rounding that activation.h allows.
#pragma once

#include "descent/activation.h"

namespace descent {

struct Epilogue {
  Activation activation = Activation::none;
  bool max_pool = false;  // then max pooling of 2x2 windows with stride 2; an odd last row or column is dropped

  constexpr Epilogue() = default;
  constexpr Epilogue(Activation first, bool then_pool = false)  // NOLINT(google-explicit-constructor)
      : activation(first), max_pool(then_pool) {}
  friend bool operator==(const Epilogue&, const Epilogue&) = default;
};

}  // namespace descent
