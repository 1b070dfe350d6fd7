// Builds models, optimizers, schedules and trainer options from a configuration.
#include "training.h"

#include <fmt/format.h>

#include <algorithm>

#include "descent/error.h"
#include "weights.h"

namespace descent::cli {

DType parse_dtype(const std::string& name) { return name == "f64" ? DType::f64 : DType::f32; }

DType activation_type(const std::string& precision, const std::string& dtype) {
  return precision == "bf16" ? DType::bf16 : parse_dtype(dtype);
}

void use_precision(const std::string& name, Device device) {
  const bool on_cpu = device.type == DeviceType::cpu;
  if (name == "bf16") {
    if (on_cpu) warn("bf16 on the CPU shows what it does to a model; it is slower there than f32");
    return;
  }
  const Precision wanted = parse_precision(name);
  if (wanted != Precision::f32 && on_cpu) {
    throw InvalidArgument(
        fmt::format("--precision {}: the device is cpu, which has no TF32; it needs --device cuda", name));
  }
  set_matmul_precision(wanted);
}

nn::Model make_model(const std::string& model, const data::Dataset& dataset, std::uint64_t seed) {
  const Shape& images = dataset.images.shape();
  const Shape image{images[1], images[2], images[3]};
  if (is_preset(model)) return nn::build_model(nn::preset(model, image, dataset.classes()), seed, model);
  if (!model.starts_with('{')) check_architecture(model);
  nn::Model built = nn::load_model_json(model, seed);
  if (built.input != image) {
    throw InvalidArgument(fmt::format("model {}: its input is {}, the images of {} are {}", escape(built.name),
                                      to_string(built.input), escape(dataset.name), to_string(image)));
  }
  if (built.output != Shape{dataset.classes()}) {
    throw InvalidArgument(fmt::format("model {}: its output is {}, {} has {} classes", escape(built.name),
                                      to_string(built.output), escape(dataset.name), dataset.classes()));
  }
  return built;
}

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig& config, const nn::Module& module) {
  optim::OptimizerOptions options;
  options.lr = config.lr;
  options.momentum = config.momentum;
  options.weight_decay = config.weight_decay;
  return optim::make_optimizer(config.optimizer, module, options);
}

train::LearningRate make_learning_rate(const TrainConfig& config) {
  optim::ScheduleOptions options;
  options.lr = config.lr;
  options.warmup_steps = config.warmup;
  options.gamma = config.gamma;
  const std::string name = config.schedule;
  const std::int64_t step_size = config.step_size;
  std::shared_ptr<optim::Schedule> schedule;
  // The number of steps is known only when the data are loaded: the schedule is created in the first call.
  return [=](std::int64_t step, std::int64_t steps) mutable {
    if (!schedule) {
      options.total_steps = steps;
      options.step_size = step_size > 0 ? step_size : std::max<std::int64_t>(1, (steps + 2) / 3);
      schedule = optim::make_schedule(name, options);
    }
    return schedule->lr(step);
  };
}

train::TrainerOptions trainer_options(const TrainConfig& config, Device device) {
  train::TrainerOptions options;
  options.epochs = config.epochs;
  options.batch_size = config.batch_size;
  options.accumulation_steps = config.accumulate;
  options.drop_last = config.drop_last;
  options.label_smoothing = config.label_smoothing;
  options.clip_norm = config.clip_norm;
  options.clip_value = config.clip_value;
  options.seed = config.seed;
  options.learning_rate = make_learning_rate(config);
  options.dtype = activation_type(config.precision, config.dtype);
  options.device = device;
  options.keep_best = config.validation > 0;
  options.patience = config.early_stop;
  options.nan_guard = !config.no_nan_guard;
  if (config.no_graph) options.graph = train::Graph::off;
  // Lines of metrics.jsonl are written when the losses are synced, which on CUDA is less often by default.
  if (device.type == DeviceType::cuda && config.metrics_every < TrainConfig{}.metrics_every) {
    options.sync_every = config.metrics_every;
  }
  return options;
}

}  // namespace descent::cli
