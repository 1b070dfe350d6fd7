// One convolution as cuDNN will run it: a graph of operations with an execution plan. Kept away from conv_cudnn.h, so
// that the headers of cudnn-frontend are compiled once.
#pragma once

#include <cudnn.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

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
  bool bf16 = false;  // all are, but with `w_f32` the gradient of w is f32
  bool w_f32 = false;
  friend auto operator<=>(const ConvKey&, const ConvKey&) = default;
};

struct ConvOperands {  // x, w and y, or their gradients; the one that the pass computes is written
  const void *x = nullptr, *w = nullptr, *y = nullptr, *bias = nullptr;
};

// What cuDNN says of the engine that a plan runs.
struct ConvEngine {
  std::string name;   // its number and the values of its knobs, as in cuDNN's log
  std::string notes;  // the numerical and behavior notes, separated by blanks
  bool tensor_cores = false;
  bool copies_operands = false;  // wants so much memory that it brings x, w or y into another layout first
};

class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual const ConvEngine& engine() const = 0;
  // Throws DeviceError where cuDNN cannot do it after all.
  virtual void run(cudnnHandle_t handle, const ConvOperands& operands, void* workspace) const = 0;
};

// The device that a plan is for: that of the handle, or, for plans that are looked at and never run, one that
// `properties` describes in cuDNN's JSON (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). Then no GPU is needed.
struct ConvDevice {
  cudnnHandle_t handle = nullptr;
  std::string properties = {};
  int architecture = 0;  // of `properties`: 10 * major + minor of the compute capability
};

// Exactly what the key says, or null when cuDNN can't do that.
std::unique_ptr<ConvPlan> make_conv_plan(const ConvDevice& device, const ConvKey& key);

}  // namespace descent::gpu
