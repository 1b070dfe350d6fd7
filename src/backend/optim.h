// The op group optim: one pass over flat buffers by one of the rules of core/optimizer_rules.h.
#pragma once

#include <span>

#include "backend/view.h"
#include "core/optimizer_rules.h"

namespace descent {

struct StepState {         // on the device, so that a step can be captured
  ConstView lr;            // f64 [1]
  ConstView step;          // f64 [1]: 1 in the first step
  View nonfinite;          // i32 [1]: set to 1 if a gradient or an updated parameter is NaN or Inf; may be empty
  ConstView coefficients;  // f64 [kStepCoefficients], as advance() left them
};

class Optim {
 public:
  virtual ~Optim() = default;
  // step f64 [1] += 1, then the rule's step_coefficients, so that an update computes no powers.
  virtual void advance(const OptimRule& rule, ConstView lr, View step, View coefficients) = 0;
  // Updates param and the rule's state buffers, which have param's size and type, from grad.
  virtual void update(const OptimRule& rule, const StepState& s, View param, ConstView grad,
                      std::span<const View> states) = 0;
  // factor f64 [1] = min(1, max_norm / (sqrt(sum_of_squares) + 1e-6))
  virtual void clip_factor(ConstView sum_of_squares, double max_norm, View factor) = 0;
};

}  // namespace descent
