// Creates optimizers by name, with their own defaults for options that were not given.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "descent/optim.h"

namespace descent::optim {
namespace {

constexpr std::array<std::string_view, 4> kOptimizers{"sgd", "rmsprop", "adam", "adamw"};

double given_or(double given, double usual) { return given < 0 ? usual : given; }

void refuse(std::string_view name, const char* field, bool given) {
  if (given) throw InvalidArgument(fmt::format("{}: it has no option {}", name, field));
}

void refuse_momentum_options(std::string_view name, const OptimizerOptions& o) {
  refuse(name, "dampening", o.dampening >= 0);
  refuse(name, "nesterov", o.nesterov);
}

template <class Rule, class Options>
std::unique_ptr<Optimizer> make_adam(std::string_view name, const nn::Module& module, const OptimizerOptions& o) {
  refuse(name, "momentum", o.momentum >= 0);
  refuse(name, "alpha", o.alpha >= 0);
  refuse(name, "centered", o.centered);
  refuse_momentum_options(name, o);
  const Options usual;
  return std::make_unique<Rule>(
      module, Options{given_or(o.lr, usual.lr), given_or(o.beta1, usual.beta1), given_or(o.beta2, usual.beta2),
                      given_or(o.eps, usual.eps), given_or(o.weight_decay, usual.weight_decay)});
}

std::unique_ptr<Optimizer> make_sgd(const nn::Module& module, const OptimizerOptions& o) {
  refuse("sgd", "alpha", o.alpha >= 0);
  refuse("sgd", "eps", o.eps >= 0);
  refuse("sgd", "centered", o.centered);
  const SgdOptions usual;
  return std::make_unique<SGD>(module, SgdOptions{given_or(o.lr, usual.lr), given_or(o.momentum, usual.momentum),
                                                  given_or(o.dampening, usual.dampening),
                                                  given_or(o.weight_decay, usual.weight_decay), o.nesterov});
}

std::unique_ptr<Optimizer> make_rmsprop(const nn::Module& module, const OptimizerOptions& o) {
  refuse_momentum_options("rmsprop", o);
  const RmsPropOptions usual;
  return std::make_unique<RMSProp>(
      module,
      RmsPropOptions{given_or(o.lr, usual.lr), given_or(o.alpha, usual.alpha), given_or(o.eps, usual.eps),
                     given_or(o.weight_decay, usual.weight_decay), given_or(o.momentum, usual.momentum), o.centered});
}

}  // namespace

std::span<const std::string_view> optimizer_names() { return kOptimizers; }

std::unique_ptr<Optimizer> make_optimizer(std::string_view name, const nn::Module& module,
                                          const OptimizerOptions& options) {
  if (name == "adam") return make_adam<Adam, AdamOptions>(name, module, options);
  if (name == "adamw") return make_adam<AdamW, AdamWOptions>(name, module, options);
  const bool betas = options.beta1 >= 0 || options.beta2 >= 0;
  if (name == "sgd") {
    refuse(name, "beta1 or beta2", betas);
    return make_sgd(module, options);
  }
  if (name == "rmsprop") {
    refuse(name, "beta1 or beta2", betas);
    return make_rmsprop(module, options);
  }
  throw InvalidArgument(
      fmt::format("optimizer: \"{}\", expected one of {}", escape(name), fmt::join(kOptimizers, ", ")));
}

}  // namespace descent::optim
