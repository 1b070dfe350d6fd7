// Optimizers over flat parameters: one fused pass per step and segment; the formulas and defaults are PyTorch's.
// The learning rate, the step number and the NaN flag live on the device, so a step can be captured and replayed.
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
  // Updates every parameter that has a gradient and is not frozen; the others, and their state, stay as they are.
  void step();
  void zero_grad() { parameters_.zero_grad(); }
  double lr() const { return lr_; }
  void set_lr(double lr);
  std::int64_t step_count() const;  // the most updates that any parameter has had; waits for the device

  // Whether a gradient or an updated parameter was NaN or Inf in a step since the last call; waits for the device. The
  // updates were made.
  bool found_nonfinite();

  // What a checkpoint needs: "optimizer.exp_avg" and its like, flat, and "optimizer.step", f64, one for each parameter.
  // load_state throws InvalidArgument for a missing name and another size or element type, and then changes nothing.
  std::vector<nn::NamedTensor> state();
  void load_state(const std::vector<nn::NamedTensor>& state);

  nn::FlatParameters& parameters() { return parameters_; }

 protected:
  Optimizer(std::string name, std::vector<nn::NamedTensor> parameters, double lr);
  // A flat tensor of zeros beside the parameters; `slot` numbers count from 0.
  int add_state(std::string name);
  Tensor& state_of(int slot) { return states_[static_cast<std::size_t>(slot)].tensor; }
  struct Update;                               // the views of one segment
  virtual void advance(const Update& update);  // before the first update of a step that has this number
  virtual void update(const Update& update) = 0;

 private:
  void follow_parameters();
  void note_offsets();
  void regroup(const std::vector<bool>& updated);

  std::string name_;
  nn::FlatParameters parameters_;
  std::vector<nn::NamedTensor> states_;
  std::vector<std::int64_t> offsets_;  // of the parameters in states_
  std::vector<int> group_of_;          // for each parameter; those of a group have had the same number of steps
  int groups_ = 1;
  double lr_;
  Tensor lr_on_device_;  // f64 [1]
  Tensor steps_;         // f64 [parameters]; a group's number is the element of that index
  Tensor nonfinite_;     // i32 [1]
  Tensor rates_;         // f64 [parameters, 3]; by group, made of its number and lr when it is advanced
};

struct SgdOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};
class DESCENT_API SGD : public Optimizer {  // Sutskever et al., 2013, for Nesterov's momentum
 public:
  SGD(const nn::Module& module, const SgdOptions& options = {});
  SGD(std::vector<nn::NamedTensor> parameters, const SgdOptions& options = {});

 private:
  void update(const Update& update) override;
  SgdOptions options_;
  int momentum_ = -1;
};

struct RmsPropOptions {
  double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;
};
class DESCENT_API RMSProp : public Optimizer {  // Tieleman and Hinton, 2012; centered: Graves, 2013
 public:
  RMSProp(const nn::Module& module, const RmsPropOptions& options = {});
  RMSProp(std::vector<nn::NamedTensor> parameters, const RmsPropOptions& options = {});

 private:
  void update(const Update& update) override;
  RmsPropOptions options_;
  int square_avg_, momentum_ = -1, grad_avg_ = -1;
};

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
class DESCENT_API Adam : public Optimizer {  // Kingma and Ba, 2015; weight decay is added to the gradient
 public:
  Adam(const nn::Module& module, const AdamOptions& options = {});
  Adam(std::vector<nn::NamedTensor> parameters, const AdamOptions& options = {});

 protected:
  Adam(std::string name, std::vector<nn::NamedTensor> parameters, const AdamOptions& options, bool decoupled);

 private:
  void advance(const Update& update) override;
  void update(const Update& update) override;
  AdamOptions options_;
  bool decoupled_;
  int m_, v_;
};

struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
};
class DESCENT_API AdamW : public Adam {  // Loshchilov and Hutter, 2019: weight decay apart from the gradient
 public:
  AdamW(const nn::Module& module, const AdamWOptions& options = {});
  AdamW(std::vector<nn::NamedTensor> parameters, const AdamWOptions& options = {});
};

// ---- clipping

// Scales all gradients by min(1, max_norm / (norm + 1e-6)); returns the 2-norm over all of them before that, f64 [1] on
// the device. As in PyTorch, one NaN makes all of them NaN, and an Inf becomes NaN while the finite ones become 0.
DESCENT_API Tensor clip_grad_norm(nn::FlatParameters& parameters, double max_norm);
// Clamps every gradient to [-limit, limit]; NaN stays.
DESCENT_API void clip_grad_value(nn::FlatParameters& parameters, double limit);

// ---- learning-rate schedules

// The learning rate as a pure function of the number of steps already made: resuming needs the step alone.
class DESCENT_API Schedule {
 public:
  virtual ~Schedule();
  virtual double lr(std::int64_t step) const = 0;  // for step 0, 1, ...
};

struct ScheduleOptions {
  double lr = 1e-3;              // the base; for onecycle the peak
  std::int64_t total_steps = 0;  // of the whole training; cosine and onecycle need it
  std::int64_t step_size = 0;    // step: every so many steps, the rate is multiplied by gamma
  double gamma = 0.1;
  double min_lr = 0;              // cosine: where it ends
  std::int64_t warmup_steps = 0;  // cosine: rises linearly from lr / warmup_steps to lr over these first
  double pct_start = 0.3;         // onecycle: the part of the steps that rises
  double div_factor = 25;         // onecycle: begins at lr / div_factor
  double final_div_factor = 1e4;  // onecycle: ends at lr / div_factor / final_div_factor
};
// "constant"; "step": PyTorch's StepLR; "cosine": CosineAnnealingLR, with warm-up; "onecycle": OneCycleLR with cosine
// annealing in two phases, the momentum not cycled. Throws InvalidArgument for another name or an option out of range.
DESCENT_API std::unique_ptr<Schedule> make_schedule(std::string_view name, const ScheduleOptions& options);
DESCENT_API std::span<const std::string_view> schedule_names();

// ---- by name

struct OptimizerOptions {  // a negative value stands for the optimizer's own default
  double lr = -1;
  double momentum = -1;  // sgd, rmsprop
  double weight_decay = -1;
  double beta1 = -1, beta2 = -1, eps = -1;  // adam, adamw; eps also rmsprop
  double alpha = -1;                        // rmsprop
  double dampening = -1;                    // sgd
  bool nesterov = false;                    // sgd
  bool centered = false;                    // rmsprop
};
// "sgd", "rmsprop", "adam" or "adamw". Throws InvalidArgument for another name and for an option that it doesn't have.
DESCENT_API std::unique_ptr<Optimizer> make_optimizer(std::string_view name, const nn::Module& module,
                                                      const OptimizerOptions& options = {});
DESCENT_API std::span<const std::string_view> optimizer_names();

}  // namespace descent::optim
