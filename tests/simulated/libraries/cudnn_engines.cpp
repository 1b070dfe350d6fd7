// The notes are cuDNN's (documentation, "cudnnBackendNumericalNote_t" and "cudnnBackendBehaviorNote_t"). Which kinds of
// engine exist for which problem follows the heuristics of cuDNN 9.19 when they are told the properties of an RTX 3060,
// an RTX 4090 and an H200 (cudnn-frontend's DeviceProperties; the query needs no device):
//  - bf16 with an f32 bias: on sm_90 runtime-compiled engines only, on sm_86 and sm_89 none;
//  - bf16 weight gradients stored as f32: engines on sm_90, none on sm_86 and sm_89;
//  - strict f32 on sm_90: native engines for the forward pass only; else engines that copy operands to another layout.
#include "libraries/cudnn_engines.h"

#include <algorithm>
#include <cmath>

#include "control.h"
#include "libraries/element.h"

namespace simulated {
namespace {

constexpr auto kTensorCore = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;

enum Index : std::int64_t {
  kNative,
  kTensorCores,
  kNondeterministic,
  kDownConverting,
  kReduced,
  kFft,
  kWinograd,
  kWinograd4,
  kWinograd6,
  kWinograd13,
  kLayoutCopies,
  kRuntimeCompiled,
  kGatheredPatches,
  kWithoutPlans,
};

constexpr std::int64_t kGatheredBytes = std::int64_t{513} << 20;
constexpr std::int64_t kAlignment = 256;

std::int64_t round_up(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool is_winograd(std::int64_t index) { return index >= kWinograd && index <= kWinograd13; }

bool is_3x3(const ConvolutionProblem& p) {
  const auto one = [](const std::array<std::int64_t, 2>& values) { return values[0] == 1 && values[1] == 1; };
  return p.w.sizes[2] == 3 && p.w.sizes[3] == 3 && one(p.stride) && one(p.dilation) && p.groups() == 1;
}

}  // namespace

const std::vector<Engine>& engines() {
  using Method = EngineMethod;
  static const std::vector<Engine> all = {
      {kNative, "native", Method::plain, {}, {}},
      {kTensorCores, "tensor cores", Method::tf32, {kTensorCore}, {}},
      {kNondeterministic, "atomic sums", Method::unordered, {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, {}},
      {kDownConverting, "down-converting", Method::down_converted, {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS}, {}},
      {kReduced, "narrow sums", Method::reduced, {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}, {}},
      {kFft, "FFT", Method::transformed, {CUDNN_NUMERICAL_NOTE_FFT}, {}},
      {kWinograd, "Winograd", Method::transformed, {CUDNN_NUMERICAL_NOTE_WINOGRAD}, {}},
      {kWinograd4, "Winograd 4x4", Method::transformed, {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4}, {}},
      {kWinograd6, "Winograd 6x6", Method::transformed, {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6}, {}},
      {kWinograd13, "Winograd 13x13", Method::transformed, {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13}, {}},
      {kLayoutCopies, "layout copies", Method::plain, {CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, {}},
      {kRuntimeCompiled, "runtime-compiled", Method::tf32, {kTensorCore}, {CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION}},
      {kGatheredPatches, "gathered patches", Method::plain, {}, {}},
      {kWithoutPlans, "without plans", Method::plain, {}, {}, false},
  };
  return all;
}

bool Engine::has(cudnnBackendNumericalNote_t note) const {
  return std::find(numerical_notes.begin(), numerical_notes.end(), note) != numerical_notes.end();
}
bool Engine::has(cudnnBackendBehaviorNote_t note) const {
  return std::find(behavior_notes.begin(), behavior_notes.end(), note) != behavior_notes.end();
}

const Engine* find_engine(std::int64_t index) {
  for (const Engine& engine : engines()) {
    if (engine.index == index) return &engine;
  }
  return nullptr;
}

bool supports(const Engine& engine, const ConvolutionProblem& p) {
  const bool hopper = settings().capability >= 90, bf16 = p.is_bf16();
  const bool wide_bias = bf16 && p.has_bias && p.bias.type == CUDNN_DATA_FLOAT;
  const bool wide_result = bf16 && p.result.type == CUDNN_DATA_FLOAT;
  if (!bf16 && (p.result.type != CUDNN_DATA_FLOAT || (p.has_bias && p.bias.type != CUDNN_DATA_FLOAT))) return false;
  if (wide_bias) return hopper && engine.index == kRuntimeCompiled;
  if (wide_result && !(hopper && p.pass == ConvolutionPass::filter)) return false;
  if (engine.index == kNative && hopper && !bf16) return p.pass == ConvolutionPass::forward;
  if (bf16 && (engine.index == kNative || engine.index == kDownConverting)) return false;  // bf16 runs on tensor cores
  if (is_winograd(engine.index)) return is_3x3(p);
  return true;
}

std::int64_t workspace_of(const Engine& engine, const ConvolutionProblem& p) {
  switch (engine.index) {
    case kNative:
      return 0;
    case kLayoutCopies:  // f32 copies of all three tensors
      return round_up(4 * (p.x.count() + p.w.count() + p.y.count()));
    case kGatheredPatches:
      return kGatheredBytes + round_up(4 * p.result.count());
    default:  // the sums before they are stored
      return round_up(4 * p.result.count());
  }
}

// Mode A: unacceptable engines come first. Fallback: engines that always work.
std::vector<std::int64_t> heuristics(cudnnBackendHeurMode_t mode, const ConvolutionProblem& problem) {
  std::vector<std::int64_t> order = {kWithoutPlans, kNondeterministic, kDownConverting, kReduced,    kFft,
                                     kWinograd,     kWinograd4,        kWinograd6,      kWinograd13, kGatheredPatches,
                                     kTensorCores,  kRuntimeCompiled,  kLayoutCopies,   kNative};
  if (settings().capability < 90) std::swap(order[order.size() - 2], order.back());
  if (mode == CUDNN_HEUR_MODE_FALLBACK) order = {kLayoutCopies, kNative};
  std::erase_if(order, [&](std::int64_t index) { return !supports(*find_engine(index), problem); });
  return order;
}

void round_operand(const Engine& engine, std::vector<float>& values) {
  if (engine.method != EngineMethod::tf32 && engine.method != EngineMethod::down_converted) return;
  for (float& value : values) {
    value = engine.method == EngineMethod::tf32 ? to_tf32(value) : round_bits(value, 16);
  }
}

void disturb_result(const Engine& engine, std::vector<float>& values) {
  constexpr float kError = 1.0F / 4096;
  switch (engine.method) {
    case EngineMethod::reduced:
      for (float& value : values) value = round_bits(value, 16);
      break;
    case EngineMethod::unordered: {
      static int run = 0;
      const float factor = 1 + kError * static_cast<float>(1 + run++ % 7);
      for (float& value : values) value *= factor;
      break;
    }
    case EngineMethod::transformed: {
      float largest = 0;
      for (const float value : values) {  // NaN propagates
        if (std::isnan(value) || std::abs(value) > largest) largest = std::abs(value);
      }
      for (float& value : values) value += kError * largest;
      break;
    }
    default:
      break;
  }
}

}  // namespace simulated
