// Convolutions through cuDNN plans: chooses the plan for each call and runs our own kernels for what it does not fuse.
// A plan is made at the first call of its kind on a device and cached, and so is the result that there is none. Only
// cuDNN's slow reference engine claims to propagate NaN through ReLU, so ReLU is fused only if precision.h allows NaN
// to be lost. Gradients accumulate through scratch memory, because cudnn-frontend fixes the graph's beta at 0. With
// bf16 the bias is bf16 too: for an f32 bias cuDNN has only engines that it compiles at run time.
#if DESCENT_HAS_CUDNN

#include "cuda/conv/cudnn.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "cuda/cast_buffers.h"
#include "cuda/conv/cudnn_plan.h"
#include "cuda/gemm/epilogue.h"
#include "cuda/runtime/context.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

// cuDNN on one device. Never destroyed: nothing here is safe to destroy after the driver has shut down.
struct Library {
  std::mutex mutex;  // protects the members below; held until a call's kernels are queued
  cudnnHandle_t handle = nullptr;
  std::string failure;                                       // why cudnnCreate failed; empty if it did not
  std::map<ConvKey, std::shared_ptr<const ConvPlan>> plans;  // null: cuDNN has no plan
};

constexpr std::size_t kMostPlans = 4096;  // bounds the cache of a program whose shapes never repeat

Library& library(int device) {
  static std::mutex mutex;
  static auto* const libraries = new std::map<int, Library>;
  const std::lock_guard lock(mutex);
  return (*libraries)[device];
}

std::array<std::int64_t, 4> sizes(const Shape& s) { return {s[0], s[1], s[2], s[3]}; }

// cuDNN's kernels need 16-byte alignment and count elements in 32 bits.
bool suits(ConstView v) {
  return (v.dtype == DType::f32 || v.dtype == DType::bf16) && v.numel() > 0 &&
         v.numel() <= std::numeric_limits<std::int32_t>::max() && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

ConvKey make_key(ConvPass pass, bool bf16, const Conv2dFuncOptions& g, const Shape& x, const Shape& w, const Shape& y) {
  ConvKey key;
  key.bf16 = bf16;
  key.pass = pass;
  key.x = sizes(x);
  key.w = sizes(w);
  key.y = sizes(y);
  key.stride = {g.stride_h, g.stride_w};
  key.pad = {g.padding_h, g.padding_w};
  key.dilation = {g.dilation_h, g.dilation_w};
  key.precision = bf16 ? Precision::f32 : precision();  // irrelevant for bf16
  return key;
}

std::string describe(cudnnStatus_t status) {
  std::array<char, 256> detail = {};
  cudnnGetLastErrorString(detail.data(), detail.size());
  const std::string_view more(detail.data());
  return cudnnGetErrorString(status) + (more.empty() ? "" : fmt::format(" ({})", more.substr(0, more.find('\n'))));
}

// Creates the handle, trying only once; false if there is none. The caller holds the mutex.
bool start(Library& cudnn) {
  if (cudnn.handle != nullptr || !cudnn.failure.empty()) return cudnn.handle != nullptr;
  const cudnnStatus_t status = cudnnCreate(&cudnn.handle);
  if (status == CUDNN_STATUS_SUCCESS) return true;
  cudnn.failure = "cudnnCreate: " + describe(status);
  cudnn.handle = nullptr;
  return false;
}

std::shared_ptr<const ConvPlan> find_plan(Context& context, Library& cudnn, const ConvKey& key) {
  auto at = cudnn.plans.find(key);
  if (at == cudnn.plans.end()) {
    if (cudnn.plans.size() >= kMostPlans && !context.capturing) cudnn.plans.clear();
    at = cudnn.plans.emplace(key, make_conv_plan({cudnn.handle}, key)).first;
  }
  return at->second;
}

// Returns false, with nothing queued, if cuDNN has no plan or if there is no memory for its workspace, which our own
// convolution does not need. A plan that exists but fails is an error.
bool run(Context& context, const ConvKey& key, const ConvOperands& operands) {
  Stream& stream = context.stream();
  Library& cudnn = library(context.device());
  const std::lock_guard lock(cudnn.mutex);
  if (!start(cudnn)) return false;
  const cudnnStatus_t status = cudnnSetStream(cudnn.handle, stream.handle);
  if (status != CUDNN_STATUS_SUCCESS) throw DeviceError("cudnn: cudnnSetStream failed: " + describe(status));
  const std::shared_ptr<const ConvPlan> plan = find_plan(context, cudnn, key);
  if (plan == nullptr) return false;
  std::optional<Scratch<std::byte>> workspace;
  try {
    workspace.emplace(stream, static_cast<std::int64_t>(plan->workspace_bytes()));
  } catch (const OutOfMemory&) {
    return false;
  }
  plan->run(cudnn.handle, operands, workspace->data());
  context.keep_for_capture(plan);
  return true;
}

// Runs the plan, writing to `to` or accumulating into it through scratch memory. If it returns false, `to`
// is untouched.
bool run_gradient(Context& context, const ConvKey& key, ConvOperands operands, const void* ConvOperands::*result,
                  const Grad& to) {
  if (to.write == Write::overwrite) {
    operands.*result = to.view.data;
    return run(context, key, operands);
  }
  Stream& stream = context.stream();
  const std::int64_t n = to.view.numel();
  const auto add = [&]<class T>(T) {
    const Scratch<T> beside(stream, n);
    operands.*result = beside.data();
    if (!run(context, key, operands)) return false;
    epilogue<T>(stream, 1, n, beside.data(), 1, nullptr, Activation::none, to.view.as<T>());
    return true;
  };
  return to.view.dtype == DType::bf16 ? add(__nv_bfloat16()) : add(float());
}

bool is_bf16(const ConstView& v) { return v.dtype == DType::bf16; }

}  // namespace

std::string cudnn_failure(Context& context) {
  context.stream();
  Library& cudnn = library(context.device());
  const std::lock_guard lock(cudnn.mutex);
  start(cudnn);
  return cudnn.failure;
}

bool cudnn_forward(Context& context, const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias,
                   Activation activation, View y) {
  if (!suits(x) || !suits(w) || !suits(y)) return false;
  CastBuffers casts(context.stream());
  const bool bf16 = is_bf16(x), relu = activation == Activation::relu;
  const ConstView wide_bias = bias;
  if (bf16) {
    w = casts.narrow(w);
    bias = casts.narrow(bias);
  }
  ConvKey key = make_key(ConvPass::forward, bf16, g, x.shape, w.shape, y.shape);
  const ConvOperands operands{x.data, w.data, y.data, bias.data};
  const auto try_fused = [&](bool with_bias, bool with_relu) {
    key.bias = with_bias;
    key.relu = with_relu;
    return run(context, key, operands);
  };
  // Tries the most fused plan first.
  const bool can_bias = bias && suits(bias), can_relu = relu && libraries_activate(y.dtype) && (can_bias || !bias);
  if (can_relu && try_fused(can_bias, true)) return true;
  const bool fused_bias = can_bias && try_fused(true, false);
  if (!fused_bias && !try_fused(false, false)) return false;
  const float* bias_left = fused_bias ? nullptr : wide_bias.as<float>();
  if (bias_left == nullptr && !relu) return true;
  const std::int64_t channels = y.shape[3], rows = y.numel() / channels;
  if (bf16) {
    epilogue<__nv_bfloat16>(context.stream(), rows, channels, nullptr, 1, bias_left, activation, y.as<__nv_bfloat16>());
  } else {
    epilogue<float>(context.stream(), rows, channels, nullptr, 1, bias_left, activation, y.as<float>());
  }
  return true;
}

bool cudnn_backward_data(Context& context, const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx) {
  if (!suits(dy) || !suits(w) || !suits(dx.view)) return false;
  CastBuffers casts(context.stream());
  if (is_bf16(dy)) w = casts.narrow(w);
  const ConvKey key = make_key(ConvPass::data, is_bf16(dy), g, dx.view.shape, w.shape, dy.shape);
  return run_gradient(context, key, {nullptr, w.data, dy.data, nullptr}, &ConvOperands::x, dx);
}

bool cudnn_backward_filter(Context& context, const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw) {
  if (!suits(x) || !suits(dy) || !suits(dw.view)) return false;
  ConvKey key = make_key(ConvPass::filter, is_bf16(x), g, x.shape, dw.view.shape, dy.shape);
  key.w_f32 = key.bf16;
  ConvOperands operands{x.data, nullptr, dy.data, nullptr};
  if (run_gradient(context, key, operands, &ConvOperands::w, dw)) return true;
  if (!key.bf16) return false;
  key.w_f32 = false;  // no engine stores f32: use bf16, which rounds the sums once
  Stream& stream = context.stream();
  const std::int64_t n = dw.view.numel();
  const Scratch<__nv_bfloat16> narrow(stream, n);
  operands.w = narrow.data();
  if (!run(context, key, operands)) return false;
  if (dw.write == Write::overwrite) {
    widen_bf16(stream, n, narrow.data(), dw.view.as<float>());
    return true;
  }
  const Scratch<float> beside(stream, n);
  widen_bf16(stream, n, narrow.data(), beside.data());
  epilogue<float>(stream, 1, n, beside.data(), 1, nullptr, Activation::none, dw.view.as<float>());
  return true;
}

}  // namespace descent::gpu

#endif
