// SGD, RMSProp, Adam and AdamW: their options and state; the arithmetic is the backend's.
#include <fmt/format.h>

#include <cmath>

#include "optim/update.h"

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

descent::Adam rule_of(const AdamOptions& o, bool decoupled) {
  return {o.beta1, o.beta2, o.eps, o.weight_decay, decoupled};
}

}  // namespace

SGD::SGD(const nn::Module& module, const SgdOptions& options) : SGD(module.named_parameters(), options) {}

SGD::SGD(std::vector<nn::NamedTensor> parameters, const SgdOptions& options)
    : Optimizer("sgd", std::move(parameters), options.lr), options_(options) {
  check("sgd", "momentum", options.momentum, 0, HUGE_VAL);
  check("sgd", "weight_decay", options.weight_decay, 0, HUGE_VAL);
  check("sgd", "dampening", options.dampening, -HUGE_VAL, HUGE_VAL);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw InvalidArgument(fmt::format("sgd: nesterov needs a momentum and no dampening, found {} and {}",
                                      options.momentum, options.dampening));
  }
  if (options.momentum != 0) momentum_ = add_state("momentum_buffer");
}

void SGD::update(const Update& u) {
  const Sgd rule{options_.momentum, options_.dampening, options_.weight_decay, options_.nesterov};
  u.kernels.sgd(rule, u.step, u.param, u.grad, momentum_ < 0 ? View{} : u.slice(state_of(momentum_)));
}

RMSProp::RMSProp(const nn::Module& module, const RmsPropOptions& options)
    : RMSProp(module.named_parameters(), options) {}

RMSProp::RMSProp(std::vector<nn::NamedTensor> parameters, const RmsPropOptions& options)
    : Optimizer("rmsprop", std::move(parameters), options.lr), options_(options), square_avg_(add_state("square_avg")) {
  check("rmsprop", "alpha", options.alpha, 0, HUGE_VAL);
  check("rmsprop", "eps", options.eps, 0, HUGE_VAL);
  check("rmsprop", "momentum", options.momentum, 0, HUGE_VAL);
  check("rmsprop", "weight_decay", options.weight_decay, 0, HUGE_VAL);
  if (options.momentum != 0) momentum_ = add_state("momentum_buffer");
  if (options.centered) grad_avg_ = add_state("grad_avg");
}

void RMSProp::update(const Update& u) {
  const RmsProp rule{options_.alpha, options_.eps, options_.weight_decay, options_.momentum, options_.centered};
  u.kernels.rmsprop(rule, u.step, u.param, u.grad, u.slice(state_of(square_avg_)),
                    momentum_ < 0 ? View{} : u.slice(state_of(momentum_)),
                    grad_avg_ < 0 ? View{} : u.slice(state_of(grad_avg_)));
}

Adam::Adam(const nn::Module& module, const AdamOptions& options) : Adam(module.named_parameters(), options) {}

Adam::Adam(std::vector<nn::NamedTensor> parameters, const AdamOptions& options)
    : Adam("adam", std::move(parameters), options, false) {}

Adam::Adam(std::string name, std::vector<nn::NamedTensor> parameters, const AdamOptions& options, bool decoupled)
    : Optimizer(std::move(name), std::move(parameters), options.lr),
      options_(options),
      decoupled_(decoupled),
      m_(add_state("exp_avg")),
      v_(add_state("exp_avg_sq")) {
  const char* rule = decoupled ? "adamw" : "adam";
  check_beta(rule, "beta1", options.beta1);
  check_beta(rule, "beta2", options.beta2);
  check(rule, "eps", options.eps, 0, HUGE_VAL);
  check(rule, "weight_decay", options.weight_decay, 0, HUGE_VAL);
}

void Adam::advance(const Update& u) {
  u.kernels.advance_adam(rule_of(options_, decoupled_), u.step.lr, u.number, u.rates);
}

void Adam::update(const Update& u) {
  const descent::Adam rule = rule_of(options_, decoupled_);
  u.kernels.adam(rule, u.step, u.param, u.grad, u.slice(state_of(m_)), u.slice(state_of(v_)));
}

AdamW::AdamW(const nn::Module& module, const AdamWOptions& options) : AdamW(module.named_parameters(), options) {}

AdamW::AdamW(std::vector<nn::NamedTensor> parameters, const AdamWOptions& o)
    : Adam("adamw", std::move(parameters), {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay}, true) {}

}  // namespace descent::optim
