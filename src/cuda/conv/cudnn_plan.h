// One convolution as cuDNN runs it: an operation graph with an execution plan. This interface hides cudnn-frontend, so
// that only cudnn_plan.cpp compiles its headers.
#pragma once

#include <cudnn.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/gemm/precision.h"

namespace descent::gpu {

enum class ConvPass : std::uint8_t { forward, data, filter };

// Everything that a plan depends on. Shapes as in backend/conv.h: x [N, H, W, C], w [out, kh, kw, C / groups],
// y [N, Ho, Wo, out].
struct ConvKey {
  ConvPass pass = ConvPass::forward;
  std::array<std::int64_t, 4> x = {}, w = {}, y = {};
  std::array<std::int64_t, 2> stride = {}, pad = {}, dilation = {};
  bool bias = false, relu = false;  // whether they are fused; forward only
  Precision precision = Precision::f32;
  bool bf16 = false;  // all operands are bf16, except an f32 gradient of w if `w_f32`
  bool w_f32 = false;
  friend auto operator<=>(const ConvKey&, const ConvKey&) = default;
};

struct ConvOperands {  // x, w and y, or their gradients; the pass writes the one that it computes
  const void *x = nullptr, *w = nullptr, *y = nullptr, *bias = nullptr;
};

// What cuDNN reports about the engine that a plan runs.
struct ConvEngine {
  std::string name;   // its number and the values of its knobs, as in cuDNN's log
  std::string notes;  // the numerical and behavior notes, separated by spaces
  bool tensor_cores = false;
  bool copies_operands = false;  // its workspace is so large that it must copy x, w or y to another layout
};

class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual const ConvEngine& engine() const = 0;
  // Throws DeviceError if cuDNN fails to execute the plan.
  virtual void run(cudnnHandle_t handle, const ConvOperands& operands, void* workspace) const = 0;
};

// The device that a plan is for: that of `handle` or, for plans that are only inspected and never run, one that
// `properties` describes in cuDNN's JSON format (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION), which needs no GPU.
struct ConvDevice {
  cudnnHandle_t handle = nullptr;
  std::string properties = {};
  int architecture = 0;  // of `properties`: 10 * major + minor of the compute capability
};

// A plan for exactly this key, or null if cuDNN has none that follows our rules.
std::unique_ptr<ConvPlan> make_conv_plan(const ConvDevice& device, const ConvKey& key);

}  // namespace descent::gpu
