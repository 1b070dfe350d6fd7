// Reverse-mode differentiation with a tape: every op with an input that requires a gradient records its backward.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "descent/tensor.h"

namespace descent {

// While an instance is alive, ops on this thread record nothing.
class DESCENT_API NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool before_;
};

DESCENT_API bool grad_enabled();

// Adds d(output)/d(leaf) * gradient to the gradient of every leaf that `output` was computed from (overwrites it
// after zero_grad()), then frees the tape. `gradient` has the shape, element type and device of `output`. An error
// inside an op's backward names the op. A second backward through the same tape throws InvalidArgument.
DESCENT_API void backward(const Tensor& output, const Tensor& gradient);

struct GradcheckOptions {
  double step = 1e-5;             // h of the central difference (f(x+h) - f(x-h)) / 2h
  double tolerance = 1e-7;        // on |analytic - numeric| / max(|analytic|, |numeric|), 2-norms over a whole tensor
  std::int64_t max_elements = 0;  // per input: 0 checks every element, otherwise a random sample of this size
  std::uint64_t seed = 0;         // of that sample and of the random projection of the output
  // Skips elements whose differences with step and step / 2 disagree: a kink of ReLU or max lies between the two
  // points, where the central difference is no derivative. An input with more than half of its checked elements
  // skipped fails.
  bool skip_kinks = false;
};

struct GradcheckEntry {
  std::string name;  // "input 0", or the name that was passed
  // Relative error of 2-norms. Norms below (rounding error of a central difference) / tolerance count as that value.
  double error = 0;
  double analytic_norm = 0;
  double numeric_norm = 0;
  std::int64_t worst_index = 0;  // the element with the largest absolute difference
  double worst_analytic = 0;
  double worst_numeric = 0;
  std::int64_t skipped = 0;  // elements at a kink
};

struct GradcheckResult {
  bool passed = false;
  std::vector<GradcheckEntry> entries;  // one for each input, in order
  std::string to_string() const;
};

// Compares the tape's gradients of `function` at `inputs` (f64 leaves with requires_grad, on any device) with central
// differences. `function` must be deterministic; its output is f64 of any shape and is projected onto fixed random
// weights. Clears the gradients of the inputs. Throws InvalidArgument for other inputs or outputs.
DESCENT_API GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                                      const std::vector<Tensor>& inputs, const GradcheckOptions& options = {},
                                      const std::vector<std::string>& names = {});

struct OpGradcheck {
  std::string op;      // the op's name
  std::string detail;  // the case, such as "3x3, stride 2, groups 2"
  GradcheckResult result;
};
// Runs gradcheck on every op of ops.h, with small shapes and inputs away from kinks.
DESCENT_API std::vector<OpGradcheck> gradcheck_all_ops(const GradcheckOptions& options = {}, Device device = {});

}  // namespace descent
