// SGD, RMSProp, Adam and AdamW: their options and states; the backend does the arithmetic.
#include <fmt/format.h>

#include <cmath>

#include "optim/rule.h"

namespace descent::optim {
namespace {

void check(const char* name, const char* field, double value, double low, double high) {
  if (value >= low && value <= high) return;
  if (high == HUGE_VAL)
    throw InvalidArgument(fmt::format("{}: {} is {}, expected {} or more", name, field, value, low));
  throw InvalidArgument(fmt::format("{}: {} is {}, expected {} to {}", name, field, value, low, high));
}

void check_beta(const char* name, const char* field, double value) {
  if (!(value >= 0 && value < 1)) {
    throw InvalidArgument(fmt::format("{}: {} is {}, expected 0 to less than 1", name, field, value));
  }
}

Sgd checked(const SgdOptions& o) {
  check("sgd", "momentum", o.momentum, 0, HUGE_VAL);
  check("sgd", "weight_decay", o.weight_decay, 0, HUGE_VAL);
  check("sgd", "dampening", o.dampening, -HUGE_VAL, HUGE_VAL);
  if (o.nesterov && (o.momentum == 0 || o.dampening != 0)) {
    throw InvalidArgument(
        fmt::format("sgd: nesterov needs a momentum and no dampening, found {} and {}", o.momentum, o.dampening));
  }
  return {o.momentum, o.dampening, o.weight_decay, o.nesterov};
}

RmsProp checked(const RmsPropOptions& o) {
  check("rmsprop", "alpha", o.alpha, 0, HUGE_VAL);
  check("rmsprop", "eps", o.eps, 0, HUGE_VAL);
  check("rmsprop", "momentum", o.momentum, 0, HUGE_VAL);
  check("rmsprop", "weight_decay", o.weight_decay, 0, HUGE_VAL);
  return {o.alpha, o.eps, o.weight_decay, o.momentum, o.centered};
}

descent::Adam checked(const char* name, const AdamOptions& o, bool decoupled) {
  check_beta(name, "beta1", o.beta1);
  check_beta(name, "beta2", o.beta2);
  check(name, "eps", o.eps, 0, HUGE_VAL);
  check(name, "weight_decay", o.weight_decay, 0, HUGE_VAL);
  return {o.beta1, o.beta2, o.eps, o.weight_decay, decoupled};
}

using Names = std::vector<std::string>;

Names states_of(const RmsPropOptions& o) {
  Names names{"square_avg"};
  if (o.momentum != 0) names.emplace_back("momentum_buffer");
  if (o.centered) names.emplace_back("grad_avg");
  return names;
}

}  // namespace

SGD::SGD(const nn::Module& module, const SgdOptions& options) : SGD(module.named_parameters(), options) {}

SGD::SGD(std::vector<nn::NamedTensor> parameters, const SgdOptions& options)
    : Optimizer("sgd", std::move(parameters), options.lr, {checked(options)},
                options.momentum != 0 ? Names{"momentum_buffer"} : Names()) {}

RMSProp::RMSProp(const nn::Module& module, const RmsPropOptions& options)
    : RMSProp(module.named_parameters(), options) {}

RMSProp::RMSProp(std::vector<nn::NamedTensor> parameters, const RmsPropOptions& options)
    : Optimizer("rmsprop", std::move(parameters), options.lr, {checked(options)}, states_of(options)) {}

Adam::Adam(const nn::Module& module, const AdamOptions& options) : Adam(module.named_parameters(), options) {}

Adam::Adam(std::vector<nn::NamedTensor> parameters, const AdamOptions& options)
    : Adam("adam", std::move(parameters), options, false) {}

Adam::Adam(const char* name, std::vector<nn::NamedTensor> parameters, const AdamOptions& options, bool decoupled)
    : Optimizer(name, std::move(parameters), options.lr, {checked(name, options, decoupled)},
                {"exp_avg", "exp_avg_sq"}) {}

AdamW::AdamW(const nn::Module& module, const AdamWOptions& options) : AdamW(module.named_parameters(), options) {}

AdamW::AdamW(std::vector<nn::NamedTensor> parameters, const AdamWOptions& o)
    : Adam("adamw", std::move(parameters), {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay}, true) {}

}  // namespace descent::optim
