// Optimizers over flat parameters: one fused pass per step and segment; the formulas and defaults are PyTorch's.
// The learning rate, the step number and the NaN flag are on the device, so a step can be captured and replayed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "descent/nn.h"

namespace descent::optim {

class DESCENT_API Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  const std::string& name() const { return name_; }  // "adam"
  // Updates every parameter that has a gradient and is not frozen; the others and their state are unchanged.
  void step();
  void zero_grad() { parameters_.zero_grad(); }
  double lr() const { return lr_; }
  void set_lr(double lr);
  std::int64_t step_count() const;  // the largest number of updates of any parameter; waits for the device

  // Whether a gradient or an updated parameter was NaN or Inf in a step since the last call; the updates were still
  // made. Waits for the device.
  bool found_nonfinite();

  // State for a checkpoint: flat tensors such as "optimizer.exp_avg", and "optimizer.step", f64, one element per
  // parameter. load_state_dict throws InvalidArgument, and changes nothing, for a missing name or a different size
  // or element type.
  std::vector<nn::NamedTensor> state_dict();
  void load_state_dict(const std::vector<nn::NamedTensor>& state);

  nn::FlatParameters& parameters() { return parameters_; }

 protected:
  struct Rule;  // one of src/core/optimizer_rules.h
  // `states`: the names of the rule's flat state tensors, which are as large as the parameters and begin as zeros.
  Optimizer(std::string name, std::vector<nn::NamedTensor> parameters, double lr, const Rule& rule,
            const std::vector<std::string>& states);

 private:
  void follow_parameters();
  void note_offsets();
  void regroup(const std::vector<bool>& updated);

  std::string name_;
  nn::FlatParameters parameters_;
  std::unique_ptr<const Rule> rule_;
  std::vector<nn::NamedTensor> states_;
  std::vector<std::int64_t> offsets_;  // of the parameters within states_
  std::vector<int> group_of_;          // of each parameter; the members of a group have had the same number of steps
  int groups_ = 1;
  double lr_;
  Tensor lr_on_device_;  // f64 [1]
  Tensor steps_;         // f64 [parameters]; element i is the step number of group i
  Tensor nonfinite_;     // i32 [1]
  Tensor coefficients_;  // f64 [parameters, 3], by group: what the rule computes once a step
};

struct SgdOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};
class DESCENT_API SGD : public Optimizer {  // Nesterov momentum: Sutskever et al., 2013
 public:
  SGD(const nn::Module& module, const SgdOptions& options = {});
  SGD(std::vector<nn::NamedTensor> parameters, const SgdOptions& options = {});
};

struct RmsPropOptions {
  double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;
};
class DESCENT_API RMSProp : public Optimizer {  // Tieleman and Hinton, 2012; centered: Graves, 2013
 public:
  RMSProp(const nn::Module& module, const RmsPropOptions& options = {});
  RMSProp(std::vector<nn::NamedTensor> parameters, const RmsPropOptions& options = {});
};

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
class DESCENT_API Adam : public Optimizer {  // Kingma and Ba, 2015; weight decay is added to the gradient
 public:
  Adam(const nn::Module& module, const AdamOptions& options = {});
  Adam(std::vector<nn::NamedTensor> parameters, const AdamOptions& options = {});

 protected:
  Adam(const char* name, std::vector<nn::NamedTensor> parameters, const AdamOptions& options, bool decoupled);
};

struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
};
class DESCENT_API AdamW : public Adam {  // Loshchilov and Hutter, 2019: decoupled weight decay
 public:
  AdamW(const nn::Module& module, const AdamWOptions& options = {});
  AdamW(std::vector<nn::NamedTensor> parameters, const AdamWOptions& options = {});
};

struct AdadeltaOptions {
  double lr = 1, rho = 0.9, eps = 1e-6, weight_decay = 0;
};
class DESCENT_API Adadelta : public Optimizer {  // Zeiler, 2012; weight decay is added to the gradient
 public:
  Adadelta(const nn::Module& module, const AdadeltaOptions& options = {});
  Adadelta(std::vector<nn::NamedTensor> parameters, const AdadeltaOptions& options = {});
};

// ---- clipping

// Scales all gradients by min(1, max_norm / (norm + 1e-6)) and returns norm, their joint 2-norm before that, as f64
// [1] on the device. As in PyTorch, one NaN makes all of them NaN; an Inf becomes NaN and the finite ones 0.
DESCENT_API Tensor clip_grad_norm(nn::FlatParameters& parameters, double max_norm);
// Clamps every gradient to [-limit, limit]; NaN remains. Both throw InvalidArgument for a negative or NaN limit.
DESCENT_API void clip_grad_value(nn::FlatParameters& parameters, double limit);

// ---- learning-rate schedules

// The learning rate as a pure function of the number of completed steps: resuming needs only the step.
class DESCENT_API Schedule {
 public:
  virtual ~Schedule();
  virtual double lr(std::int64_t step) const = 0;  // for step 0, 1, ...
};

struct ScheduleOptions {
  double lr = 1e-3;              // the base; for onecycle the peak
  std::int64_t total_steps = 0;  // of the whole training; required by cosine and onecycle
  std::int64_t step_size = 0;    // step: the rate is multiplied by gamma every step_size steps
  double gamma = 0.1;
  double min_lr = 0;              // cosine: the final rate
  std::int64_t warmup_steps = 0;  // cosine: the rate first rises linearly from lr / warmup_steps to lr
  double pct_start = 0.3;         // onecycle: the fraction of the steps in which the rate rises
  double div_factor = 25;         // onecycle: starts at lr / div_factor
  double final_div_factor = 1e4;  // onecycle: ends at lr / div_factor / final_div_factor
};
// "constant"; "step": PyTorch's StepLR; "cosine": CosineAnnealingLR with warm-up (Loshchilov and Hutter, 2017);
// "onecycle": OneCycleLR with cosine annealing in two phases (Smith and Topin, 2018), momentum not cycled. Throws
// InvalidArgument for an unknown name or an option out of range.
DESCENT_API std::unique_ptr<Schedule> make_schedule(std::string_view name, const ScheduleOptions& options);
DESCENT_API std::span<const std::string_view> schedule_names();

// ---- by name

struct OptimizerOptions {  // a negative value means the optimizer's own default
  double lr = -1;
  double momentum = -1;  // sgd, rmsprop
  double weight_decay = -1;
  double beta1 = -1, beta2 = -1, eps = -1;  // adam, adamw; eps also rmsprop and adadelta
  double alpha = -1;                        // rmsprop
  double rho = -1;                          // adadelta
  double dampening = -1;                    // sgd
  bool nesterov = false;                    // sgd
  bool centered = false;                    // rmsprop
};
// "sgd", "rmsprop", "adam", "adamw" or "adadelta". Throws InvalidArgument for an unknown name or an option it doesn't
// have.
DESCENT_API std::unique_ptr<Optimizer> make_optimizer(std::string_view name, const nn::Module& module,
                                                      const OptimizerOptions& options = {});
DESCENT_API std::span<const std::string_view> optimizer_names();
DESCENT_API double default_lr(std::string_view optimizer);  // PyTorch's; throws InvalidArgument for an unknown name

}  // namespace descent::optim
