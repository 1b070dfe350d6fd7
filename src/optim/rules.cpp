// The optimizers: their options, states and names; the backend does the arithmetic.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
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

descent::Adadelta checked(const AdadeltaOptions& o) {
  check("adadelta", "rho", o.rho, 0, 1);
  check("adadelta", "eps", o.eps, 0, HUGE_VAL);
  check("adadelta", "weight_decay", o.weight_decay, 0, HUGE_VAL);
  return {o.rho, o.eps, o.weight_decay};
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

Adadelta::Adadelta(const nn::Module& module, const AdadeltaOptions& options)
    : Adadelta(module.named_parameters(), options) {}

Adadelta::Adadelta(std::vector<nn::NamedTensor> parameters, const AdadeltaOptions& options)
    : Optimizer("adadelta", std::move(parameters), options.lr, {checked(options)}, {"square_avg", "acc_delta"}) {}

// ---- by name --------------------------------------------------------------------------------------------------------
namespace {

using Made = std::unique_ptr<Optimizer>;

double given_or(double given, double usual) { return given < 0 ? usual : given; }

Made make_sgd(const nn::Module& module, const OptimizerOptions& o) {
  const SgdOptions usual;
  return std::make_unique<SGD>(module, SgdOptions{given_or(o.lr, usual.lr), given_or(o.momentum, usual.momentum),
                                                  given_or(o.dampening, usual.dampening),
                                                  given_or(o.weight_decay, usual.weight_decay), o.nesterov});
}

Made make_rmsprop(const nn::Module& module, const OptimizerOptions& o) {
  const RmsPropOptions usual;
  return std::make_unique<RMSProp>(
      module,
      RmsPropOptions{given_or(o.lr, usual.lr), given_or(o.alpha, usual.alpha), given_or(o.eps, usual.eps),
                     given_or(o.weight_decay, usual.weight_decay), given_or(o.momentum, usual.momentum), o.centered});
}

template <class Class, class Options>
Made make_adam(const nn::Module& module, const OptimizerOptions& o) {
  const Options usual;
  return std::make_unique<Class>(
      module, Options{given_or(o.lr, usual.lr), given_or(o.beta1, usual.beta1), given_or(o.beta2, usual.beta2),
                      given_or(o.eps, usual.eps), given_or(o.weight_decay, usual.weight_decay)});
}

Made make_adadelta(const nn::Module& module, const OptimizerOptions& o) {
  const AdadeltaOptions usual;
  return std::make_unique<Adadelta>(
      module, AdadeltaOptions{given_or(o.lr, usual.lr), given_or(o.rho, usual.rho), given_or(o.eps, usual.eps),
                              given_or(o.weight_decay, usual.weight_decay)});
}

struct Named {
  std::string_view name;
  double lr;
  std::string_view options;  // those it has besides lr and weight_decay
  Made (*make)(const nn::Module&, const OptimizerOptions&);
};
constexpr Named kOptimizers[] = {
    {"sgd", SgdOptions().lr, " momentum dampening nesterov ", make_sgd},
    {"rmsprop", RmsPropOptions().lr, " alpha eps momentum centered ", make_rmsprop},
    {"adam", AdamOptions().lr, " beta1 beta2 eps ", make_adam<Adam, AdamOptions>},
    {"adamw", AdamWOptions().lr, " beta1 beta2 eps ", make_adam<AdamW, AdamWOptions>},
    {"adadelta", AdadeltaOptions().lr, " rho eps ", make_adadelta},
};
constexpr std::size_t kCount = std::size(kOptimizers);

constexpr std::array<std::string_view, kCount> names_of_all() {
  std::array<std::string_view, kCount> names;
  for (std::size_t i = 0; i < kCount; ++i) names[i] = kOptimizers[i].name;
  return names;
}
constexpr std::array<std::string_view, kCount> kNames = names_of_all();

const Named& named(std::string_view name) {
  for (const Named& optimizer : kOptimizers) {
    if (optimizer.name == name) return optimizer;
  }
  throw InvalidArgument(fmt::format("optimizer: \"{}\", expected one of {}", escape(name), fmt::join(kNames, ", ")));
}

void refuse_foreign_options(const Named& optimizer, const OptimizerOptions& o) {
  const std::pair<std::string_view, bool> given[] = {
      {"momentum", o.momentum >= 0}, {"beta1", o.beta1 >= 0}, {"beta2", o.beta2 >= 0},         {"eps", o.eps >= 0},
      {"alpha", o.alpha >= 0},       {"rho", o.rho >= 0},     {"dampening", o.dampening >= 0}, {"nesterov", o.nesterov},
      {"centered", o.centered},
  };
  for (const auto& [option, is_given] : given) {
    if (!is_given || optimizer.options.find(fmt::format(" {} ", option)) != std::string_view::npos) continue;
    throw InvalidArgument(fmt::format("{}: it has no option {}", optimizer.name, option));
  }
}

}  // namespace

std::span<const std::string_view> optimizer_names() { return kNames; }

std::unique_ptr<Optimizer> make_optimizer(std::string_view name, const nn::Module& module,
                                          const OptimizerOptions& options) {
  const Named& optimizer = named(name);
  refuse_foreign_options(optimizer, options);
  return optimizer.make(module, options);
}

double default_lr(std::string_view name) { return named(name).lr; }

}  // namespace descent::optim
