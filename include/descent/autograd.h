// Reverse-mode differentiation by a tape: every op that sees a tensor with requires_grad records how to go back.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "descent/tensor.h"

namespace descent {

// While one of these lives, ops on this thread record nothing.
class DESCENT_API NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

DESCENT_API bool grad_enabled();

// Adds d(output)/d(leaf) * gradient to the gradient of every leaf that `output` was computed from (overwrites it where
// zero_grad() was called before), then frees the tape. `gradient` has the shape of `output`.
// An error inside an op's backward names the op. Going back twice through the same tape is an InvalidArgument.
DESCENT_API void backward(const Tensor& output, const Tensor& gradient);

struct GradcheckOptions {
  double step = 1e-5;             // h of the central difference (f(x+h) - f(x-h)) / 2h
  double tolerance = 1e-7;        // on |analytic - numeric| / max(|analytic|, |numeric|), 2-norms over a whole tensor
  std::int64_t max_elements = 0;  // per input: 0 checks every element, else a random choice of this many
  std::uint64_t seed = 0;         // of that choice and of the random projection of a non-scalar output
  // Leaves out elements whose differences with step and step / 2 disagree: a kink of ReLU or max lies between the two
  // points, and there the central difference is no derivative. An input of which more than half is left out fails.
  bool skip_kinks = false;
};

struct GradcheckEntry {
  std::string name;  // "input 0", or the name given
  // Norm-wise and relative. Norms below (rounding of a central difference) / tolerance count as that much.
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
// differences. `function` must be a deterministic function of the inputs; its output may have any shape: it is
// projected on fixed random weights. Forgets gradients that the inputs had.
DESCENT_API GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                                      const std::vector<Tensor>& inputs, const GradcheckOptions& options = {},
                                      const std::vector<std::string>& names = {});

struct OpGradcheck {
  std::string op;      // the op's name
  std::string detail;  // which of its cases: "3x3, stride 2, groups 2"
  GradcheckResult result;
};
// gradcheck of every op of ops.h, at small shapes and inputs that keep away from kinks.
DESCENT_API std::vector<OpGradcheck> gradcheck_all_ops(const GradcheckOptions& options = {}, Device device = {});

}  // namespace descent
