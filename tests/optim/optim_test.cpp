// Optimizers against PyTorch's formulas, rewritten in f64, over 20 steps and several parameters; what is skipped,
// saved, resumed and clipped.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "descent/optim.h"

namespace descent::optim {
namespace {

using Values = std::vector<double>;

double pseudo(int a, int b, int c) { return std::sin(12.9898 * a + 78.233 * b + 37.719 * c + 1) * 1.7; }

struct Parameters {
  std::vector<nn::NamedTensor> named;
  explicit Parameters(DType dtype, std::vector<Shape> shapes = {{3, 7}, {17}, {1}, {5, 2, 2, 3}}) {
    for (std::size_t p = 0; p < shapes.size(); ++p) {
      Values values;
      for (int i = 0; i < shapes[p].numel(); ++i) values.push_back(pseudo(static_cast<int>(p), i, 1000));
      Tensor tensor = Tensor::from(values, shapes[p]).to(dtype);
      tensor.set_requires_grad(true);
      named.push_back({"p" + std::to_string(p), tensor});
    }
  }
  Tensor& operator[](std::size_t i) { return named[i].tensor; }
  // Sets gradients that depend on the step; parameter `skip` gets none.
  void set_grads(int step, int skip = -1) {
    for (std::size_t p = 0; p < named.size(); ++p) {
      if (static_cast<int>(p) == skip) continue;
      const Tensor g = gradient(step, p);
      sum(named[p].tensor * g).backward();
    }
  }
  Tensor gradient(int step, std::size_t p) {
    Values values;
    for (int i = 0; i < named[p].tensor.numel(); ++i) values.push_back(pseudo(step, static_cast<int>(p), i));
    return Tensor::from(values, named[p].tensor.shape()).to(named[p].tensor.dtype());
  }
};

// One element's state in the oracle; `t` counts its own steps from 1.
struct Cell {
  double w = 0, a = 0, b = 0, c = 0;
};
using Rule = std::function<void(Cell&, double g, int t)>;

struct Case {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(std::vector<nn::NamedTensor>)> make;
  Rule rule;
};

template <class T, class Options>
auto maker(Options options) {
  return [options](std::vector<nn::NamedTensor> p) -> std::unique_ptr<Optimizer> {
    return std::make_unique<T>(std::move(p), options);
  };
}

// torch.optim.SGD, "Algorithm" in its documentation.
Rule sgd_rule(SgdOptions o) {
  return [o](Cell& x, double g, int t) {
    g += o.weight_decay * x.w;
    if (o.momentum != 0) {
      x.a = t == 1 ? g : o.momentum * x.a + (1 - o.dampening) * g;
      g = o.nesterov ? g + o.momentum * x.a : x.a;
    }
    x.w -= o.lr * g;
  };
}

Rule rmsprop_rule(RmsPropOptions o) {
  return [o](Cell& x, double g, int) {
    g += o.weight_decay * x.w;
    x.a = o.alpha * x.a + (1 - o.alpha) * g * g;
    double v = x.a;
    if (o.centered) {
      x.b = o.alpha * x.b + (1 - o.alpha) * g;
      v -= x.b * x.b;
    }
    const double step = g / (std::sqrt(v) + o.eps);
    if (o.momentum > 0) {
      x.c = o.momentum * x.c + step;
      x.w -= o.lr * x.c;
    } else {
      x.w -= o.lr * step;
    }
  };
}

template <class Options>
Rule adam_rule(Options o, bool decoupled) {
  return [o, decoupled](Cell& x, double g, int t) {
    if (decoupled) {
      x.w *= 1 - o.lr * o.weight_decay;
    } else {
      g += o.weight_decay * x.w;
    }
    x.a = o.beta1 * x.a + (1 - o.beta1) * g;
    x.b = o.beta2 * x.b + (1 - o.beta2) * g * g;
    const double m = x.a / (1 - std::pow(o.beta1, t));
    const double v = x.b / (1 - std::pow(o.beta2, t));
    x.w -= o.lr * m / (std::sqrt(v) + o.eps);
  };
}

std::vector<Case> cases() {
  std::vector<Case> out;
  const auto sgd = [&](const char* name, SgdOptions o) { out.push_back({name, maker<SGD>(o), sgd_rule(o)}); };
  sgd("sgd", {.lr = 0.05});
  sgd("sgd_decay", {.lr = 0.05, .weight_decay = 0.1});
  sgd("sgd_momentum", {.lr = 0.05, .momentum = 0.9});
  sgd("sgd_dampening", {.lr = 0.05, .momentum = 0.8, .dampening = 0.3, .weight_decay = 0.01});
  sgd("sgd_nesterov", {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
  const auto rms = [&](const char* name, RmsPropOptions o) {
    out.push_back({name, maker<RMSProp>(o), rmsprop_rule(o)});
  };
  rms("rmsprop", {});
  rms("rmsprop_momentum", {.lr = 0.003, .alpha = 0.9, .weight_decay = 0.02, .momentum = 0.7});
  rms("rmsprop_centered", {.lr = 0.003, .eps = 1e-4, .momentum = 0.5, .centered = true});
  const auto adam = [&](const char* name, AdamOptions o) {
    out.push_back({name, maker<Adam>(o), adam_rule(o, false)});
  };
  adam("adam", {});
  adam("adam_decay", {.lr = 0.02, .beta1 = 0.7, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.1});
  const AdamWOptions w{.lr = 0.02, .weight_decay = 0.3};
  out.push_back({"adamw", maker<AdamW>(AdamWOptions{}), adam_rule(AdamWOptions{}, true)});
  out.push_back({"adamw_decay", maker<AdamW>(w), adam_rule(w, true)});
  return out;
}

// `skip` returns the parameter that has no gradient in a given step.
void compare(const Case& c, DType dtype, double tolerance, const std::function<int(int)>& skip) {
  SCOPED_TRACE(c.name);
  Parameters parameters(dtype);
  std::vector<std::vector<Cell>> cells;
  for (const auto& [name, tensor] : parameters.named) {
    cells.emplace_back();
    for (const double w : tensor.to_vector<double>()) cells.back().push_back({w, 0, 0, 0});
  }
  const auto optimizer = c.make(parameters.named);
  std::vector<int> counts(cells.size(), 0);
  for (int step = 1; step <= 20; ++step) {
    optimizer->zero_grad();
    parameters.set_grads(step, skip(step));
    optimizer->step();
    for (std::size_t p = 0; p < cells.size(); ++p) {
      if (static_cast<int>(p) == skip(step)) continue;
      const Values g = parameters.gradient(step, p).to_vector<double>();
      ++counts[p];
      for (std::size_t i = 0; i < g.size(); ++i) c.rule(cells[p][i], g[i], counts[p]);
    }
    for (std::size_t p = 0; p < cells.size(); ++p) {
      const Values found = parameters[p].to_vector<double>();
      for (std::size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], cells[p][i].w, tolerance) << "step " << step << ", parameter " << p << ", element " << i;
      }
    }
  }
  EXPECT_EQ(optimizer->step_count(), 20);
  EXPECT_FALSE(optimizer->found_nonfinite());
}

TEST(Optim, FollowsPyTorchsFormulasInF64) {
  for (const Case& c : cases()) compare(c, DType::f64, 1e-13, [](int) { return -1; });
}

TEST(Optim, FollowsPyTorchsFormulasInF32) {
  for (const Case& c : cases()) compare(c, DType::f32, 2e-5, [](int) { return -1; });
}

TEST(Optim, AParameterWithoutAGradientKeepsItsOwnStepNumber) {
  for (const Case& c : cases()) {
    compare(c, DType::f64, 1e-13, [](int step) { return step < 4 ? 1 : step == 9 ? 2 : step == 10 ? 0 : -1; });
  }
}

TEST(Optim, FrozenParametersStayAsTheyAre) {
  Parameters parameters(DType::f32);
  Adam adam(parameters.named, {.lr = 0.1, .weight_decay = 0.5});
  parameters.set_grads(1);
  parameters[1].set_requires_grad(false);
  const Values before = parameters[1].to_vector<double>(), other = parameters[2].to_vector<double>();
  adam.step();
  EXPECT_EQ(parameters[1].to_vector<double>(), before);
  EXPECT_NE(parameters[2].to_vector<double>(), other);
}

TEST(Optim, WithoutAnyGradientAStepChangesNothing) {
  Parameters parameters(DType::f32);
  AdamW adam(parameters.named);
  const Values before = parameters[0].to_vector<double>();
  adam.step();
  EXPECT_EQ(parameters[0].to_vector<double>(), before);
  EXPECT_EQ(adam.step_count(), 0);
}

TEST(Optim, LearningRateCanChangeBetweenSteps) {
  Parameters parameters(DType::f64, {{3}});
  SGD sgd(parameters.named, {.lr = 0.5});
  Values w = parameters[0].to_vector<double>();
  for (int step = 1; step <= 3; ++step) {
    sgd.set_lr(0.5 / step);
    EXPECT_EQ(sgd.lr(), 0.5 / step);
    sgd.zero_grad();
    parameters.set_grads(step);
    sgd.step();
    const Values g = parameters.gradient(step, 0).to_vector<double>();
    for (std::size_t i = 0; i < 3; ++i) w[i] -= 0.5 / step * g[i];
  }
  const Values found = parameters[0].to_vector<double>();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(found[i], w[i], 1e-15);
  EXPECT_THROW(sgd.set_lr(-1), InvalidArgument);
  EXPECT_THROW(sgd.set_lr(std::numeric_limits<double>::quiet_NaN()), InvalidArgument);
}

TEST(Optim, ResumesBitForBit) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    Parameters straight(DType::f32), broken(DType::f32);
    const auto a = c.make(straight.named), b = c.make(broken.named);
    for (int step = 1; step <= 8; ++step) {
      for (auto* pair : {&straight, &broken}) {
        (pair == &straight ? a : b)->zero_grad();
        pair->set_grads(step, step == 3 ? 1 : -1);
        (pair == &straight ? a : b)->step();
      }
    }
    std::vector<nn::NamedTensor> saved;
    for (const auto& [name, tensor] : b->state_dict()) saved.push_back({name, tensor.clone()});
    Parameters resumed(DType::f32);
    for (std::size_t p = 0; p < resumed.named.size(); ++p) resumed[p].copy_from(broken[p]);
    const auto d = c.make(resumed.named);
    d->load_state_dict(saved);
    for (int step = 9; step <= 16; ++step) {
      a->zero_grad();
      d->zero_grad();
      straight.set_grads(step);
      resumed.set_grads(step);
      a->step();
      d->step();
    }
    for (std::size_t p = 0; p < resumed.named.size(); ++p) {
      EXPECT_EQ(resumed[p].to_vector<float>(), straight[p].to_vector<float>());
    }
  }
}

TEST(Optim, LoadStateRefusesWhatDoesNotFitAndChangesNothing) {
  Parameters parameters(DType::f32);
  Adam adam(parameters.named);
  parameters.set_grads(1);
  adam.step();
  auto state = adam.state_dict();
  ASSERT_EQ(state.size(), 3u);
  EXPECT_EQ(state[0].name, "optimizer.exp_avg");
  EXPECT_EQ(state[1].name, "optimizer.exp_avg_sq");
  EXPECT_EQ(state[2].name, "optimizer.step");
  const Values before = state[0].tensor.to_vector<double>();
  auto missing = state;
  missing.pop_back();
  EXPECT_THROW(adam.load_state_dict(missing), InvalidArgument);
  auto wrong = state;
  wrong[0].tensor = Tensor::ones(state[0].tensor.shape());
  wrong[1].tensor = Tensor::ones({3});
  EXPECT_THROW(adam.load_state_dict(wrong), InvalidArgument);
  wrong[1] = state[1];
  wrong[2].tensor = Tensor::full({4}, 0.5, DType::f64);
  EXPECT_THROW(adam.load_state_dict(wrong), InvalidArgument);
  EXPECT_EQ(adam.state_dict()[0].tensor.to_vector<double>(), before);
}

TEST(Optim, SaysWhenAGradientIsNotFinite) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (const Case& c : cases()) {
      Parameters parameters(DType::f32);
      const auto optimizer = c.make(parameters.named);
      parameters.set_grads(1);
      optimizer->step();
      EXPECT_FALSE(optimizer->found_nonfinite()) << c.name;
      Tensor grad = parameters[3].grad();
      grad.data<float>()[59] = static_cast<float>(bad);
      optimizer->step();
      EXPECT_TRUE(optimizer->found_nonfinite()) << c.name;
      EXPECT_FALSE(optimizer->found_nonfinite()) << c.name;
    }
  }
}

TEST(Optim, FollowsAModelToAnotherElementType) {
  nn::seed(3);
  nn::Linear model(4, 3), reference(4, 3);
  Adam adam(model, {.lr = 0.01});
  const Tensor x = Tensor::full({2, 4}, 0.5);
  sum(model(x)).backward();
  adam.step();
  const Values m = adam.state_dict()[0].tensor.to_vector<double>();
  model.to(DType::f64);
  adam.zero_grad();
  sum(model(x.to(DType::f64))).backward();
  adam.step();
  const auto state = adam.state_dict();
  EXPECT_EQ(state[0].tensor.dtype(), DType::f64);
  // The weight's gradient is 1 in both steps: m = 0.1, then 0.9 * 0.1 + 0.1.
  EXPECT_NEAR(m[0], 0.1, 1e-7);
  EXPECT_NEAR(state[0].tensor.to_vector<double>()[0], 0.9 * m[0] + 0.1, 1e-15);
  EXPECT_EQ(adam.step_count(), 2);
}

TEST(Optim, ClipsByNorm) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double tolerance = dtype == DType::f32 ? 1e-6 : 1e-14;
    Parameters parameters(dtype);
    nn::FlatParameters flat(parameters.named);
    for (const int skip : {-1, 1}) {
      for (const double limit : {0.5, 1e9}) {
        flat.zero_grad();
        parameters.set_grads(4, skip);
        double squares = 0;
        for (std::size_t p = 0; p < 4; ++p) {
          if (static_cast<int>(p) == skip) continue;
          for (const double g : parameters.gradient(4, p).to_vector<double>()) squares += g * g;
        }
        const double norm = std::sqrt(squares);
        EXPECT_NEAR(clip_grad_norm(flat, limit).item(), norm, tolerance * norm);
        const double factor = std::min(1.0, limit / (norm + 1e-6));
        for (std::size_t p = 0; p < 4; ++p) {
          if (static_cast<int>(p) == skip) continue;
          const Values g = parameters.gradient(4, p).to_vector<double>();
          const Values found = parameters[p].grad().to_vector<double>();
          for (std::size_t i = 0; i < g.size(); ++i) EXPECT_NEAR(found[i], g[i] * factor, tolerance);
        }
      }
    }
    EXPECT_THROW(clip_grad_norm(flat, -1), InvalidArgument);
  }
}

TEST(Optim, ANanDoesNotOutliveItsGradients) {
  Parameters parameters(DType::f32);  // with padding after each of them
  nn::FlatParameters flat(parameters.named);
  parameters.set_grads(1);
  parameters[1].grad().fill(std::nan(""));
  EXPECT_TRUE(std::isnan(clip_grad_norm(flat, 1).item()));
  EXPECT_TRUE(std::isnan(parameters[0].grad().to_vector<double>()[0]));
  flat.zero_grad();
  parameters.set_grads(1);
  EXPECT_TRUE(std::isfinite(clip_grad_norm(flat, 1).item()));
}

TEST(Optim, ClipsByValue) {
  Parameters parameters(DType::f64);
  nn::FlatParameters flat(parameters.named);
  parameters.set_grads(2);
  clip_grad_value(flat, 0.25);
  for (std::size_t p = 0; p < 4; ++p) {
    const Values g = parameters.gradient(2, p).to_vector<double>();
    const Values found = parameters[p].grad().to_vector<double>();
    for (std::size_t i = 0; i < g.size(); ++i) EXPECT_EQ(found[i], std::min(0.25, std::max(-0.25, g[i])));
  }
  EXPECT_THROW(clip_grad_value(flat, -0.1), InvalidArgument);
}

TEST(Optim, ByNameTakesDefaultsAndRefusesForeignOptions) {
  nn::Linear model(3, 2);
  for (const std::string_view name : optimizer_names()) EXPECT_EQ(make_optimizer(name, model)->name(), name);
  EXPECT_EQ(make_optimizer("adam", model)->lr(), 1e-3);
  EXPECT_EQ(make_optimizer("rmsprop", model)->lr(), 1e-2);
  EXPECT_EQ(make_optimizer("sgd", model, {.lr = 0.3})->lr(), 0.3);
  EXPECT_EQ(make_optimizer("sgd", model, {.momentum = 0.9})->state_dict().size(), 2u);
  EXPECT_EQ(make_optimizer("rmsprop", model, {.momentum = 0.9, .centered = true})->state_dict().size(), 4u);
  EXPECT_THROW(make_optimizer("lion", model), InvalidArgument);
  EXPECT_THROW(make_optimizer("adam", model, {.momentum = 0.9}), InvalidArgument);
  EXPECT_THROW(make_optimizer("adamw", model, {.nesterov = true}), InvalidArgument);
  EXPECT_THROW(make_optimizer("sgd", model, {.beta1 = 0.9}), InvalidArgument);
  EXPECT_THROW(make_optimizer("rmsprop", model, {.dampening = 0.1}), InvalidArgument);
  EXPECT_THROW(make_optimizer("adam", model, {.beta2 = 1}), InvalidArgument);
  EXPECT_THROW(make_optimizer("sgd", model, {.nesterov = true}), InvalidArgument);
}

}  // namespace
}  // namespace descent::optim
