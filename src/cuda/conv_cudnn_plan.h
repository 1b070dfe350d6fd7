// One convolution as cuDNN will run it: a graph of operations with an execution plan. Kept away from conv_cudnn.h, so
// that the headers of cudnn-frontend are compiled once.
#pragma once

#include <cudnn.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cuda/precision.h"

namespace descent::gpu {

enum class ConvPass : std::uint8_t { forward, data, filter };

// What a plan depends on. Sizes as in backend.h: x [N, H, W, C], w [out, kh, kw, C / groups], y [N, Ho, Wo, out].
struct ConvKey {
  ConvPass pass = ConvPass::forward;
  std::array<std::int64_t, 4> x = {}, w = {}, y = {};
  std::array<std::int64_t, 2> stride = {}, pad = {}, dilation = {};
  bool bias = false, relu = false;  // to be fused, forward only
  Precision precision = Precision::f32;
  bool bf16 = false;  // x, w and y are; a bias and, with `w_f32`, the gradient of w are f32
  bool w_f32 = false;
  friend auto operator<=>(const ConvKey&, const ConvKey&) = default;
};

struct ConvOperands {  // x, w and y, or their gradients; the one that the pass computes is written
  const void *x = nullptr, *w = nullptr, *y = nullptr, *bias = nullptr;
};

class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual void run(cudnnHandle_t handle, const ConvOperands& operands, void* workspace) const = 0;
};

// Exactly what the key says, or null when cuDNN can't do that.
std::unique_ptr<ConvPlan> make_conv_plan(cudnnHandle_t handle, const ConvKey& key);

}  // namespace descent::gpu
