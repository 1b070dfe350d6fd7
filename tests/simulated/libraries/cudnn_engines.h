// The engines of the simulated cuDNN: what each says of itself, needs, and does to a result. A caller that does not
// rule out what it must not take gets it, and sees it in the numbers.
#pragma once

#include "libraries/cudnn_problem.h"

namespace simulated {

// How an engine computes; but for the first two, not as strict f32 (or bf16 operands with f32 sums) would have it.
enum class EngineMethod : std::uint8_t {
  plain,           // operands as they are, f32 sums
  tf32,            // f32 operands are rounded to TF32
  down_converted,  // f32 operands are rounded to bf16
  reduced,         // sums are rounded to bf16
  unordered,       // the last bits differ from run to run
  transformed      // an error relative to the largest element, and NaN everywhere if anywhere (FFT, Winograd)
};

struct Engine {
  std::int64_t index = 0;  // CUDNN_ATTR_ENGINE_GLOBAL_INDEX
  const char* name = "";
  EngineMethod method = EngineMethod::plain;
  std::vector<cudnnBackendNumericalNote_t> numerical_notes;
  std::vector<cudnnBackendBehaviorNote_t> behavior_notes;
  bool has_plans = true;  // else a plan with it cannot be made, though the heuristics offer it

  bool has(cudnnBackendNumericalNote_t note) const;
  bool has(cudnnBackendBehaviorNote_t note) const;
};

const std::vector<Engine>& engines();
const Engine* find_engine(std::int64_t index);
bool supports(const Engine& engine, const ConvolutionProblem& problem);
std::int64_t workspace_of(const Engine& engine, const ConvolutionProblem& problem);

// The engines for a problem in the order in which the heuristics offer them.
std::vector<std::int64_t> heuristics(cudnnBackendHeurMode_t mode, const ConvolutionProblem& problem);

// The operands as the engine rounds them, and what it makes of the result before bias and ReLU.
void round_operand(const Engine& engine, std::vector<float>& values);
void disturb_result(const Engine& engine, std::vector<float>& values);

}  // namespace simulated
