// The training loop. A step allocates nothing from the system and syncs with the device only every `sync_every` steps:
// until then losses are stored on the device in a row of slots, correct predictions in a counter. So a whole-batch
// step can be captured once and replayed (trainer_graph.h), with the same bits as an eager step.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/tensor_impl.h"
#include "descent/error.h"
#include "train/trainer_impl.h"

namespace descent::train {
namespace {

constexpr std::int64_t kSyncEveryOnCuda = 50;

void check(bool ok, const char* what, double found, const char* expected) {
  if (!ok) throw InvalidArgument(fmt::format("trainer: {} is {:g}, expected {}", what, found, expected));
}

void check_options(const TrainerOptions& o) {
  check(o.epochs >= 1, "epochs", static_cast<double>(o.epochs), "at least 1");
  check(o.batch_size >= 1, "batch_size", static_cast<double>(o.batch_size), "at least 1");
  check(o.accumulation_steps >= 1, "accumulation_steps", static_cast<double>(o.accumulation_steps), "at least 1");
  check(o.label_smoothing >= 0 && o.label_smoothing < 1, "label_smoothing", o.label_smoothing, "0 to below 1");
  check(o.clip_norm >= 0 && std::isfinite(o.clip_norm), "clip_norm", o.clip_norm, "0 (off) or more");
  check(o.clip_value >= 0 && std::isfinite(o.clip_value), "clip_value", o.clip_value, "0 (off) or more");
  check(o.patience >= 0, "patience", static_cast<double>(o.patience), "0 (off) or more");
  check(o.sync_every >= 0, "sync_every", static_cast<double>(o.sync_every), "0 (by device) or more");
}

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

EvaluateOptions evaluation_of(const TrainerOptions& options, std::int64_t top_losses = 0) {
  EvaluateOptions evaluation;
  evaluation.top_losses = top_losses;
  evaluation.nan_guard = options.nan_guard;
  evaluation.dtype = options.dtype;
  evaluation.device = options.device;
  return evaluation;
}

// Training mode during fit; restores the mode of every module afterwards, also when fit throws.
class TrainingMode {
 public:
  explicit TrainingMode(nn::Module& model) {
    if (nn::EvalGuard::active())
      throw InvalidArgument("fit: an nn::EvalGuard lives on this thread: train outside of it");
    for (const nn::NamedModule& entry : model.named_modules()) {
      modes_.emplace_back(entry.module, entry.module->is_training());
    }
    if (!model.is_training()) model.train();
  }
  ~TrainingMode() {
    for (const auto& [module, training] : modes_) module->train(training);  // parents first
  }
  TrainingMode(const TrainingMode&) = delete;
  TrainingMode& operator=(const TrainingMode&) = delete;

 private:
  std::vector<std::pair<nn::Module*, bool>> modes_;
};

}  // namespace

Callback::~Callback() = default;

Trainer::Impl::Impl(nn::Module& model_, optim::Optimizer& optimizer_, TrainerOptions options_)
    : model(model_), optimizer(optimizer_), options(std::move(options_)) {
  check_options(options);
  if (options.sync_every == 0) options.sync_every = options.device.type == DeviceType::cuda ? kSyncEveryOnCuda : 1;
  loss_options.label_smoothing = options.label_smoothing;
  loss_options.num_correct = Tensor::zeros({1}, DType::i32, options.device);
  slot = Tensor::zeros({1}, DType::i32, options.device);
}

// An epoch ends with a sync, so one slot per batch of an epoch always suffices, however large the options are.
void Trainer::Impl::make_slots(std::int64_t batches) {
  if (!loss_sizes.empty()) sync_metrics();  // left by an interrupted fit
  const bool few = options.sync_every < batches && options.accumulation_steps < batches / options.sync_every;
  const std::int64_t slots = few ? options.sync_every * options.accumulation_steps : batches;
  if (losses.defined() && losses.size(0) == slots) return;
  looked_at = Tensor::zeros({slots + 1}, DType::f64, options.device);
  losses = looked_at.narrow(0, 0, slots);
  loss_sizes.reserve(static_cast<std::size_t>(slots));
}

void Trainer::Impl::start_epoch(data::SamplerPosition at) {
  position = at;
  sums = {};
  loss_options.num_correct.fill(0);
  loss_sizes.clear();
  slot.fill(0);
  unread_steps = 0;
}

void Trainer::Impl::store_loss(const Tensor& loss) {
  backend_of(loss).indexing->store_next(view_as(loss, {1}), view(slot), view(losses));
}

void Trainer::Impl::forward_backward(const data::Batch& batch, std::int64_t images_of_step) {
  const Tensor loss = cross_entropy(model(batch.x), batch.y, loss_options);
  if (options.sync_every == 1) {
    const double value = loss.item();
    if (options.nan_guard && !std::isfinite(value))
      diagnose(step + 1);  // before the update: the weights are still those that caused it
    sums.loss += value * static_cast<double>(batch.size());
    sums.num_examples += batch.size();
  } else {
    store_loss(loss);
    loss_sizes.push_back(batch.size());
  }
  if (batch.size() == images_of_step) {
    loss.backward();
  } else {
    const double share = static_cast<double>(batch.size()) / static_cast<double>(images_of_step);
    loss.backward(Tensor::full(loss.shape(), share, loss.dtype(), loss.device()));
  }
}

void Trainer::Impl::update() {
  if (options.clip_value > 0) optim::clip_grad_value(optimizer.parameters(), options.clip_value);
  if (options.clip_norm > 0) optim::clip_grad_norm(optimizer.parameters(), options.clip_norm);
  optimizer.step();
}

void Trainer::Impl::queue_whole_step(data::BatchLoader& loader) {
  optimizer.zero_grad();
  loader.gather(last_batch);
  const Tensor loss = cross_entropy(model(last_batch.x), last_batch.y, loss_options);
  store_loss(loss);
  loss.backward();
  update();
}

void Trainer::Impl::sync_metrics() {
  looked_at.narrow(0, losses.size(0), 1).copy_from(loss_options.num_correct);
  const std::vector<double> values = looked_at.to_vector<double>();
  for (std::size_t i = 0; i < loss_sizes.size(); ++i) {
    if (options.nan_guard && !std::isfinite(values[i])) {
      diagnose(step - unread_steps + 1 + static_cast<std::int64_t>(i) / options.accumulation_steps);
    }
    sums.loss += values[i] * static_cast<double>(loss_sizes[i]);
    sums.num_examples += loss_sizes[i];
  }
  sums.num_correct = static_cast<std::int64_t>(values.back());
  if (!loss_sizes.empty()) slot.fill(0);
  loss_sizes.clear();
  if (optimizer.found_nonfinite() && options.nan_guard) diagnose(step);
  unread_steps = 0;
}

void Trainer::Impl::diagnose(std::int64_t failed_step) {
  throw_nonfinite(failed_step, model, optimizer, last_batch, options.label_smoothing);
}

void Trainer::Impl::run_batches(data::BatchLoader& loader, const Epoch& epoch, std::int64_t images_of_step) {
  optimizer.zero_grad();
  for (std::int64_t i = 0; i < options.accumulation_steps && position.batch < epoch.batches; ++i) {
    if (!loader.next(last_batch)) break;
    forward_backward(last_batch, images_of_step);
    ++position.batch;
  }
  update();
}

StepInfo Trainer::Impl::run_step(data::BatchLoader& loader, StepGraph& graph, const Epoch& epoch) {
  const std::int64_t first = position.batch * options.batch_size;
  const std::int64_t batches = std::min(epoch.batches - position.batch, options.accumulation_steps);
  // Without accumulation_steps * batch_size, which may overflow 64 bits.
  const std::int64_t images =
      position.batch + batches == epoch.batches ? epoch.images - first : batches * options.batch_size;
  const bool whole = options.accumulation_steps == 1 && images == epoch.whole;
  StepInfo info;
  if (options.learning_rate) optimizer.set_lr(options.learning_rate(step, epoch.total_steps));
  if (whole && graph.ready() && loader.advance(last_batch)) {
    graph.replay();
    loss_sizes.push_back(images);
    ++position.batch;
  } else {
    run_batches(loader, epoch, images);
    if (whole) graph.mark_warm();
  }
  ++step;
  ++unread_steps;
  info.synced = unread_steps >= options.sync_every || position.batch >= epoch.batches;
  if (info.synced) sync_metrics();

  info.step = step;
  info.total_steps = epoch.total_steps;
  info.epoch = position.epoch;
  info.epoch_step = divide_up(position.batch, options.accumulation_steps);
  info.epoch_steps = epoch.steps;
  info.images = images;
  info.batch_images = first + images;
  info.epoch_images = epoch.images;
  info.learning_rate = optimizer.lr();
  info.loss_sum = sums.loss;
  info.num_correct = sums.num_correct;
  info.num_examples = sums.num_examples;
  return info;
}

EpochInfo Trainer::Impl::end_epoch(const data::Dataset* validation, double learning_rate) {
  EpochInfo info;
  info.epoch = position.epoch;
  info.step = step;
  info.learning_rate = learning_rate;
  const double seen = static_cast<double>(std::max<std::int64_t>(sums.num_examples, 1));
  info.train = {sums.loss / seen, static_cast<double>(sums.num_correct) / seen, sums.num_examples};
  if (validation != nullptr && validation->size() > 0) {
    info.validation = train::evaluate(model, *validation, options.normalization, evaluation_of(options)).metrics;
    info.best = info.validation.loss < best_loss;
    since_best = info.best ? 0 : since_best + 1;
    if (info.best) {
      best_loss = info.validation.loss;
      best_epoch = position.epoch;
      if (options.keep_best) best = io::state_dict(model);
    }
  }
  start_epoch({position.epoch + 1, 0});
  return info;
}

FitResult Trainer::Impl::fit(Trainer& self, const data::Dataset& train, const data::Dataset* validation) {
  check(train, validation, nullptr);
  data::LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.seed = options.seed;
  loading.drop_last = options.drop_last;
  loading.dtype = options.dtype;
  loading.device = options.device;
  data::BatchLoader loader(train, options.normalization, loading);
  loader.seek(position);
  train_size = train.size();
  Epoch epoch;
  epoch.batches = loader.batches_per_epoch();
  epoch.images = options.drop_last ? epoch.batches * options.batch_size : train.size();
  epoch.steps = divide_up(epoch.batches, options.accumulation_steps);
  epoch.total_steps = epoch.steps * options.epochs;
  epoch.whole = std::min(options.batch_size, train.size());
  const bool on_cuda = options.device.type == DeviceType::cuda;
  const bool graphed = options.graph == Graph::on || (options.graph == Graph::automatic && on_cuda);
  StepGraph graph(graphed, options.device, model, optimizer, [&] { queue_whole_step(loader); });

  make_slots(epoch.batches);
  FitResult result;
  const TrainingMode mode(model);
  for (const auto& callback : callbacks) callback->on_begin(self);
  while (position.epoch < options.epochs && result.end == StopReason::finished) {
    if (out_of_patience()) {
      result.end = StopReason::early_stop;
      break;
    }
    double learning_rate = optimizer.lr();
    if (options.learning_rate && step > 0) learning_rate = options.learning_rate(step - 1, epoch.total_steps);
    graph.check();
    while (position.batch < epoch.batches && result.end == StopReason::finished) {
      const StepInfo info = run_step(loader, graph, epoch);
      learning_rate = info.learning_rate;
      for (const auto& callback : callbacks) callback->on_step(self, info);
      if (options.should_stop && options.should_stop()) result.end = StopReason::interrupted;
    }
    if (result.end == StopReason::interrupted) break;
    result.epochs.push_back(end_epoch(validation, learning_rate));
    loader.start_epoch(position.epoch);
    for (const auto& callback : callbacks) callback->on_epoch(self, result.epochs.back());
    if (out_of_patience()) result.end = StopReason::early_stop;
  }
  result.step = step;
  result.best_epoch = best_epoch;
  result.graph_nodes = graph.nodes();
  for (const auto& callback : callbacks) callback->on_end(self, result.end);
  if (result.end != StopReason::interrupted && best) io::load_state_dict(model, *best);
  return result;
}

Trainer::Trainer(nn::Module& model, optim::Optimizer& optimizer, TrainerOptions options)
    : impl_(std::make_unique<Impl>(model, optimizer, std::move(options))) {}
Trainer::~Trainer() = default;

void Trainer::add(std::shared_ptr<Callback> callback) {
  if (!callback) throw InvalidArgument("trainer: the callback is null");
  for (const auto& other : impl_->callbacks) {
    if (other->name() == callback->name()) {
      throw InvalidArgument(fmt::format("trainer: two callbacks are named {}", callback->name()));
    }
  }
  impl_->callbacks.push_back(std::move(callback));
}

FitResult Trainer::fit(const data::Dataset& train, const data::Dataset* validation) {
  return impl_->fit(*this, train, validation);
}

Evaluation Trainer::evaluate(const data::Dataset& dataset, std::int64_t top_losses) {
  return train::evaluate(impl_->model, dataset, impl_->options.normalization,
                         evaluation_of(impl_->options, top_losses));
}
Tensor Trainer::predict(const Tensor& images) {
  return train::predict(impl_->model, images, impl_->options.normalization, evaluation_of(impl_->options));
}

io::TensorFile Trainer::state_dict() { return impl_->state_dict(); }
void Trainer::load_state_dict(const io::TensorFile& state) { impl_->load_state_dict(state); }
std::int64_t Trainer::step() const { return impl_->step; }
data::SamplerPosition Trainer::position() const { return impl_->position; }
const TrainerOptions& Trainer::options() const { return impl_->options; }
nn::Module& Trainer::model() { return impl_->model; }
optim::Optimizer& Trainer::optimizer() { return impl_->optimizer; }

}  // namespace descent::train
