// Convolutions by cuDNN plans: which call takes which plan, and what is left to kernels of ours. A plan is made at the
// first call of its kind on a device and kept, and so is the answer that there is none. Of cuDNN's engines only its
// slow reference claims to keep NaN through ReLU, so ReLU is fused only where precision.h allows NaN to vanish;
// gradients are accumulated by way of scratch memory, because the front end fixes the graph's beta at 0. Beside bf16
// the bias is bf16 too: with one of f32 cuDNN has nothing but engines that it compiles at run time.
#if DESCENT_HAS_CUDNN

#include "cuda/conv_cudnn.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "cuda/context.h"
#include "cuda/conv_cudnn_plan.h"
#include "cuda/linalg_finish.h"
#include "cuda/twins.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

// cuDNN on one device. Lives as long as the process: nothing here is safe to destroy after the driver.
struct Library {
  std::mutex mutex;  // of what follows, and of the calls: a plan's workspace is its own until its kernels are queued
  cudnnHandle_t handle = nullptr;
  std::string failure;                                       // why there is no handle, once it was tried
  std::map<ConvKey, std::shared_ptr<const ConvPlan>> plans;  // null: cuDNN can't
};

constexpr std::size_t kMostPlans = 4096;  // a program whose shapes never repeat must not grow for ever

Library& library(int device) {
  static std::mutex mutex;
  static auto* const libraries = new std::map<int, Library>;
  const std::lock_guard lock(mutex);
  return (*libraries)[device];
}

std::array<std::int64_t, 4> sizes(const Shape& s) { return {s[0], s[1], s[2], s[3]}; }

// cuDNN's kernels want vectors' alignment, and count elements in 32 bits.
bool suits(ConstView v) {
  return (v.dtype == DType::f32 || v.dtype == DType::bf16) && v.numel() > 0 &&
         v.numel() <= std::numeric_limits<std::int32_t>::max() && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

ConvKey make_key(ConvPass pass, bool bf16, const ConvGeometry& g, const Shape& x, const Shape& w, const Shape& y) {
  ConvKey key;
  key.bf16 = bf16;
  key.pass = pass;
  key.x = sizes(x);
  key.w = sizes(w);
  key.y = sizes(y);
  key.stride = {g.stride_h, g.stride_w};
  key.pad = {g.pad_h, g.pad_w};
  key.dilation = {g.dilation_h, g.dilation_w};
  key.precision = bf16 ? Precision::f32 : precision();  // of no matter to bf16
  return key;
}

std::string describe(cudnnStatus_t status) {
  std::array<char, 256> detail = {};
  cudnnGetLastErrorString(detail.data(), detail.size());
  const std::string_view more(detail.data());
  return cudnnGetErrorString(status) + (more.empty() ? "" : fmt::format(" ({})", more.substr(0, more.find('\n'))));
}

// Makes the handle, once; false: there is none. To be called with the library locked.
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

// False, and nothing queued, where cuDNN has no plan, or where memory does not suffice for its workspace, which our own
// convolution does not need. A plan that cuDNN made and that then fails is an error.
bool run(Context& context, const ConvKey& key, const ConvOperands& operands) {
  Queue& queue = context.queue();
  Library& cudnn = library(context.device());
  const std::lock_guard lock(cudnn.mutex);
  if (!start(cudnn)) return false;
  const cudnnStatus_t status = cudnnSetStream(cudnn.handle, queue.stream);
  if (status != CUDNN_STATUS_SUCCESS) throw DeviceError("cudnn: cudnnSetStream failed: " + describe(status));
  const std::shared_ptr<const ConvPlan> plan = find_plan(context, cudnn, key);
  if (plan == nullptr) return false;
  std::optional<Scratch<std::byte>> workspace;
  try {
    workspace.emplace(queue, static_cast<std::int64_t>(plan->workspace_bytes()));
  } catch (const OutOfMemory&) {
    return false;
  }
  plan->run(cudnn.handle, operands, workspace->data());
  context.keep_for_capture(plan);
  return true;
}

// Runs the plan into `to`, or beside it and adds. False: nothing was queued that matters.
bool run_gradient(Context& context, const ConvKey& key, ConvOperands operands, const void* ConvOperands::*result,
                  const Grad& to) {
  if (to.write == Write::overwrite) {
    operands.*result = to.view.data;
    return run(context, key, operands);
  }
  Queue& queue = context.queue();
  const std::int64_t n = to.view.numel();
  const auto add = [&]<class T>(T) {
    const Scratch<T> beside(queue, n);
    operands.*result = beside.data();
    if (!run(context, key, operands)) return false;
    finish<T>(queue, 1, n, beside.data(), 1, nullptr, Activation::none, to.view.as<T>());
    return true;
  };
  return to.view.dtype == DType::bf16 ? add(__nv_bfloat16()) : add(float());
}

bool is_bf16(const ConstView& v) { return v.dtype == DType::bf16; }

}  // namespace

std::string cudnn_failure(Context& context) {
  context.queue();
  Library& cudnn = library(context.device());
  const std::lock_guard lock(cudnn.mutex);
  start(cudnn);
  return cudnn.failure;
}

bool cudnn_forward(Context& context, const ConvGeometry& g, ConstView x, ConstView w, ConstView bias,
                   Activation activation, View y) {
  if (!suits(x) || !suits(w) || !suits(y)) return false;
  Twins twins(context.queue());
  const bool bf16 = is_bf16(x), relu = activation == Activation::relu;
  const ConstView wide_bias = bias;
  if (bf16) {
    w = twins.narrow(w);
    bias = twins.narrow(bias);
  }
  ConvKey key = make_key(ConvPass::forward, bf16, g, x.shape, w.shape, y.shape);
  const ConvOperands operands{x.data, w.data, y.data, bias.data};
  const auto try_fused = [&](bool with_bias, bool with_relu) {
    key.bias = with_bias;
    key.relu = with_relu;
    return run(context, key, operands);
  };
  // The most that may be fused first.
  const bool can_bias = bias && suits(bias), can_relu = relu && libraries_activate(y.dtype) && (can_bias || !bias);
  if (can_relu && try_fused(can_bias, true)) return true;
  const bool fused_bias = can_bias && try_fused(true, false);
  if (!fused_bias && !try_fused(false, false)) return false;
  const float* bias_left = fused_bias ? nullptr : wide_bias.as<float>();
  if (bias_left == nullptr && !relu) return true;
  const std::int64_t channels = y.shape[3], rows = y.numel() / channels;
  if (bf16) {
    finish<__nv_bfloat16>(context.queue(), rows, channels, nullptr, 1, bias_left, activation, y.as<__nv_bfloat16>());
  } else {
    finish<float>(context.queue(), rows, channels, nullptr, 1, bias_left, activation, y.as<float>());
  }
  return true;
}

bool cudnn_backward_data(Context& context, const ConvGeometry& g, ConstView dy, ConstView w, Grad dx) {
  if (!suits(dy) || !suits(w) || !suits(dx.view)) return false;
  Twins twins(context.queue());
  if (is_bf16(dy)) w = twins.narrow(w);
  const ConvKey key = make_key(ConvPass::data, is_bf16(dy), g, dx.view.shape, w.shape, dy.shape);
  return run_gradient(context, key, {nullptr, w.data, dy.data, nullptr}, &ConvOperands::x, dx);
}

bool cudnn_backward_filter(Context& context, const ConvGeometry& g, ConstView x, ConstView dy, Grad dw) {
  if (!suits(x) || !suits(dy) || !suits(dw.view)) return false;
  ConvKey key = make_key(ConvPass::filter, is_bf16(x), g, x.shape, dw.view.shape, dy.shape);
  key.w_f32 = key.bf16;
  ConvOperands operands{x.data, nullptr, dy.data, nullptr};
  if (run_gradient(context, key, operands, &ConvOperands::w, dw)) return true;
  if (!key.bf16) return false;
  key.w_f32 = false;  // no engine stores f32: at worst the sums are rounded once
  Queue& queue = context.queue();
  const std::int64_t n = dw.view.numel();
  const Scratch<__nv_bfloat16> narrow(queue, n);
  operands.w = narrow.data();
  if (!run(context, key, operands)) return false;
  if (dw.write == Write::overwrite) {
    widen_bf16(queue, n, narrow.data(), dw.view.as<float>());
    return true;
  }
  const Scratch<float> beside(queue, n);
  widen_bf16(queue, n, narrow.data(), beside.data());
  finish<float>(queue, 1, n, beside.data(), 1, nullptr, Activation::none, dw.view.as<float>());
  return true;
}

}  // namespace descent::gpu

#endif
