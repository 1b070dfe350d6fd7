// The state of a Trainer between steps. What a resumed run needs of it is saved and restored by trainer_state.cpp.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "descent/nn.h"
#include "descent/ops.h"
#include "descent/optim.h"
#include "descent/train.h"
#include "train/trainer_graph.h"

namespace descent::train {

struct Sums {  // of the current epoch
  double loss = 0;
  std::int64_t num_correct = 0;
  std::int64_t num_examples = 0;
};

struct Trainer::Impl {
  Impl(nn::Module& model, optim::Optimizer& optimizer, TrainerOptions options);

  struct Epoch {  // sizes that are the same for every epoch
    std::int64_t batches = 0, steps = 0, images = 0, total_steps = 0;
    std::int64_t whole = 0;  // images of a whole batch
  };

  void check(const data::Dataset& train, const data::Dataset* validation, const data::Dataset* test) const;
  FitResult fit(Trainer& self, const data::Dataset& train, const data::Dataset* validation);
  // One optimizer step: up to `accumulation_steps` batches, or a replay of the captured whole-batch step.
  StepInfo run_step(data::BatchLoader& loader, StepGraph& graph, const Epoch& epoch);
  void run_batches(data::BatchLoader& loader, const Epoch& epoch, std::int64_t images_of_step);
  void forward_backward(const data::Batch& batch, std::int64_t images_of_step);
  void update();                              // clipping and the optimizer
  void queue_whole_step(data::BatchLoader&);  // the captured work; has no host side effects that a replay needs
  void store_loss(const Tensor& loss);        // in the next slot
  void sync_metrics();                        // syncs the sums with the device and checks for NaN
  [[noreturn]] void diagnose(std::int64_t failed_step);
  EpochInfo end_epoch(const data::Dataset* validation, double learning_rate);
  bool out_of_patience() const { return options.patience > 0 && since_best >= options.patience; }
  void start_epoch(data::SamplerPosition at);
  void make_slots(std::int64_t batches);  // for the losses between two syncs, given the batches per epoch
  io::TensorFile state_dict();
  void load_state_dict(const io::TensorFile& state);

  nn::Module& model;
  optim::Optimizer& optimizer;
  TrainerOptions options;
  std::vector<std::shared_ptr<Callback>> callbacks;

  std::int64_t step = 0;
  data::SamplerPosition position;
  Sums sums;
  double best_loss = std::numeric_limits<double>::infinity();
  std::int64_t best_epoch = -1;
  std::int64_t since_best = 0;
  std::optional<io::TensorFile> best;  // the weights of the best epoch; only with keep_best
  std::int64_t train_size = -1;        // known from fit or from a checkpoint

  CrossEntropyOptions loss_options;  // its num_correct is on the device, since the start of the epoch
  Tensor looked_at;                  // f64 [slots + 1]: the loss slots and, during a sync, num_correct
  Tensor losses;                     // f64 [slots], of which the first loss_sizes.size() are not synced yet
  Tensor slot;                       // i32 [1]: the next slot
  std::vector<std::int64_t> loss_sizes;
  std::int64_t unread_steps = 0;
  data::Batch last_batch;
};

// Throws InvalidArgument if model and dataset don't fit together (evaluate.cpp).
void check_evaluation(const nn::Module& model, const data::Dataset& dataset);

// Reports what is not finite in this training step: input, gradients, parameters or outputs of layers. Always throws.
[[noreturn]] void throw_nonfinite(std::int64_t step, nn::Module& model, optim::Optimizer& optimizer,
                                  const data::Batch& batch, double label_smoothing);

}  // namespace descent::train
