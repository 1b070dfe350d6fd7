// The op group loss.
#pragma once

#include <cstdint>

#include "backend/view.h"
#include "descent/reduction.h"

namespace descent {

struct CrossEntropy {
  double label_smoothing = 0;
  std::int32_t ignore_index = -100;       // rows with this label are ignored (integer targets)
  Reduction reduction = Reduction::mean;  // mean: divided by the sum of the targets' class weights
};

class Loss {
 public:
  virtual ~Loss() = default;
  // logits [N, C]; target i32 [N] or probabilities [N, C]; weight [C] or empty; loss [1] or, for `none`, [N]; dlogits
  // [N, C] or empty: d(loss)/d(logits), for `none` each row's own; num_correct i32 [1] or empty: += rows whose argmax
  // is the label (or the target's argmax).
  virtual void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                             View dlogits, View num_correct) = 0;
  // (x - t)^2, and max(x, 0) - x t + log(1 + exp(-|x|)); loss [1], or x's shape for `none`; dx as above, or empty.
  virtual void mse(Reduction reduction, ConstView x, ConstView target, View loss, View dx) = 0;
  virtual void bce_with_logits(Reduction reduction, ConstView x, ConstView target, View loss, View dx) = 0;
};

}  // namespace descent
