// The engines of the simulated cuDNN: their notes, their requirements, and their effect on a result. A caller that does
// not exclude unacceptable engines gets one, and sees it in the numbers.
#pragma once

#include "libraries/cudnn_problem.h"

namespace simulated {

// How an engine computes. All but the first two are less exact than f32 or TF32 (or bf16 with f32 sums).
enum class EngineMethod : std::uint8_t {
  plain,           // unmodified operands, f32 sums
  tf32,            // f32 operands are rounded to TF32
  down_converted,  // f32 operands are rounded to bf16
  reduced,         // sums are rounded to bf16
  unordered,       // the last bits differ from run to run
  transformed      // error relative to the largest element; one NaN makes everything NaN (FFT, Winograd)
};

struct Engine {
  std::int64_t index = 0;  // CUDNN_ATTR_ENGINE_GLOBAL_INDEX
  const char* name = "";
  EngineMethod method = EngineMethod::plain;
  std::vector<cudnnBackendNumericalNote_t> numerical_notes;
  std::vector<cudnnBackendBehaviorNote_t> behavior_notes;
  bool has_plans = true;  // if false, the heuristics offer the engine but no plan can be made with it

  bool has(cudnnBackendNumericalNote_t note) const;
  bool has(cudnnBackendBehaviorNote_t note) const;
};

const std::vector<Engine>& engines();
const Engine* find_engine(std::int64_t index);
bool supports(const Engine& engine, const ConvolutionProblem& problem);
std::int64_t workspace_of(const Engine& engine, const ConvolutionProblem& problem);

// The engines that support a problem, in the order in which the heuristics offer them.
std::vector<std::int64_t> heuristics(cudnnBackendHeurMode_t mode, const ConvolutionProblem& problem);

// Round the operands as the engine does, and apply the engine's error to the result before bias and ReLU.
void round_operand(const Engine& engine, std::vector<float>& values);
void disturb_result(const Engine& engine, std::vector<float>& values);

}  // namespace simulated
