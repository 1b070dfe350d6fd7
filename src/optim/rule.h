// An optimizer's update rule, which public headers only declare.
#pragma once

#include "core/optimizer_rules.h"
#include "descent/optim.h"

namespace descent::optim {

struct Optimizer::Rule {
  OptimRule rule;
};

}  // namespace descent::optim
