// What a Trainer knows between two steps. All of it that a resumed run needs goes through trainer_state.cpp.
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

struct Sums {  // of the running epoch
  double loss = 0;
  std::int64_t hits = 0;
  std::int64_t seen = 0;
};

struct Trainer::Impl {
  Impl(nn::Module& model, optim::Optimizer& optimizer, TrainerOptions options);

  struct Epoch {  // sizes that stay the same through an epoch
    std::int64_t batches = 0, steps = 0, images = 0, total_steps = 0;
    std::int64_t whole = 0;  // images of a whole batch
  };

  void check(const data::Dataset& train, const data::Dataset* validation, const data::Dataset* test) const;
  FitResult fit(Trainer& self, const data::Dataset& train, const data::Dataset* validation);
  // One optimizer step: up to `accumulate` batches, or a replay of the recorded step of a whole batch.
  StepInfo run_step(data::BatchLoader& loader, StepGraph& graph, const Epoch& epoch);
  void run_batches(data::BatchLoader& loader, const Epoch& epoch, std::int64_t images_of_step);
  void forward_backward(const data::Batch& batch, std::int64_t images_of_step);
  void update();                              // clipping and the optimizer
  void queue_whole_step(data::BatchLoader&);  // what is recorded; on the host it changes nothing that a replay needs
  void store_loss(const Tensor& loss);        // in the next slot
  void look();                                // brings the sums up to date and guards against NaN
  [[noreturn]] void diagnose(std::int64_t failed_step);
  EpochInfo end_epoch(const data::Dataset* validation, double learning_rate);
  bool out_of_patience() const { return options.early_stop > 0 && since_best >= options.early_stop; }
  void start_epoch(data::Position at);
  void make_slots(std::int64_t batches);  // for the losses between two looks, in an epoch of so many batches
  io::TensorFile state() const;
  void set_state(const io::TensorFile& state);

  nn::Module& model;
  optim::Optimizer& optimizer;
  TrainerOptions options;
  std::vector<std::shared_ptr<Callback>> callbacks;

  std::int64_t step = 0;
  data::Position position;
  Sums sums;
  double best_loss = std::numeric_limits<double>::infinity();
  std::int64_t best_epoch = -1;
  std::int64_t since_best = 0;
  std::optional<io::TensorFile> best;  // the weights then; only with keep_best
  std::int64_t train_size = -1;        // known from fit or from a checkpoint

  CrossEntropyOptions loss_options;  // its hits: on the device, since the epoch began
  Tensor looked_at;                  // f64 [slots + 1]: the slots of losses, and at a look the hits
  Tensor losses;                     // f64 [slots], of which loss_sizes.size() hold what was not yet looked at
  Tensor slot;                       // i32 [1]: the next one
  std::vector<std::int64_t> loss_sizes;
  std::int64_t unread_steps = 0;
  data::Batch last_batch;
};

// Throws InvalidArgument where model and dataset don't fit together (evaluate.cpp).
void check_evaluation(const nn::Module& model, const data::Dataset& dataset);

// Names what is not finite in this training step, from the input through the layers to the gradients; always throws.
[[noreturn]] void throw_nonfinite(std::int64_t step, nn::Module& model, optim::Optimizer& optimizer,
                                  const data::Batch& batch, double label_smoothing);

}  // namespace descent::train
