// Whole jobs for `descent bench`: training goes through Trainer::fit itself, timed by a callback.
#include <fmt/format.h>

#include <algorithm>

#include "benchmark.h"
#include "descent/autograd.h"
#include "descent/error.h"
#include "descent/train.h"
#include "training.h"

namespace descent::cli {
namespace {

constexpr std::int64_t kImages = 60000;
constexpr std::int64_t kWarmUpSteps = 8;  // the second half of them estimates a step's time
constexpr std::int64_t kWarmUpStepsOnCuda = 400;
constexpr double kJobSeconds = 0.5;

// Zeros would not be representative; otherwise the time of a step does not depend on the pixels.
data::Dataset random_images() {
  Tensor images = Tensor::empty({kImages, 28, 28, 1}, DType::u8);
  std::uint64_t state = 1;
  std::uint8_t* pixels = images.data<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    pixels[i] = static_cast<std::uint8_t>(state >> 56U);
  }
  Tensor labels = Tensor::empty({kImages}, DType::u8);
  for (std::int64_t i = 0; i < kImages; ++i) labels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i % 10);
  return data::make_dataset("random", images, labels, "random pixels");
}

data::Dataset load_images(const JobOptions& options) {
  if (!options.data.empty()) return data::load(options.data).train;
  try {
    return data::load("mnist", data::FetchPolicy::local).train;
  } catch (const Error&) {
    return random_images();
  }
}

double forward_flops(const nn::Model& model) { return model.module->flops(model.input); }

// Forward counts once, backward twice; the first layer with parameters needs no gradient of its input.
double training_flops(const nn::Model& model) {
  double total = 0;
  bool first = true;
  for (const nn::LayerSummary& layer : nn::summarize(*model.module, model.input)) {
    const bool products = layer.type == "Linear" || layer.type == "Conv2d" || layer.type == "ConvTranspose2d";
    if (!products) continue;
    total += layer.flops * (first ? 2 : 3);
    first = false;
  }
  return total;
}

class Stopwatch : public train::Callback {
 public:
  Stopwatch(std::int64_t steps, std::int64_t blocks, Device device)
      : steps_(steps),
        blocks_(blocks),
        warm_up_(device.type == DeviceType::cuda ? kWarmUpStepsOnCuda : kWarmUpSteps),
        device_(device) {}
  std::string name() const override { return "stopwatch"; }
  void on_step(train::Trainer&, const train::StepInfo& info) override {
    if (info.step == warm_up_ / 2) begin();
    if (info.step < warm_up_) return;
    if (info.step == warm_up_) {
      const std::int64_t timed = warm_up_ - warm_up_ / 2;
      const double step = elapsed() / static_cast<double>(timed);
      if (steps_ == 0) steps_ = std::max<std::int64_t>(4, static_cast<std::int64_t>(kJobSeconds / step));
      begin();
      return;
    }
    if ((info.step - warm_up_) % steps_ != 0) return;
    seconds_.push_back(elapsed());
    begin();
  }
  void on_epoch(train::Trainer&, const train::EpochInfo&) override {}
  bool done() const { return static_cast<std::int64_t>(seconds_.size()) >= blocks_; }
  std::int64_t steps() const { return steps_; }
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  void begin() {
    synchronize(device_);
    begin_ = now();
  }
  double elapsed() const {
    synchronize(device_);
    return now() - begin_;
  }

  std::int64_t steps_, blocks_, warm_up_;
  Device device_;
  double begin_ = 0;
  std::vector<double> seconds_;
};

JobResult summarize_blocks(std::string data, std::int64_t steps, std::int64_t batch, std::vector<double> seconds,
                           double flops) {
  JobResult result;
  result.data = std::move(data);
  result.steps = steps;
  result.median_seconds = median(seconds);
  result.block_seconds = std::move(seconds);
  result.images_per_second = static_cast<double>(steps * batch) / result.median_seconds;
  result.gflops = flops * result.images_per_second * 1e-9;
  return result;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

WatchedTraining train_watched(const JobOptions& options, const std::shared_ptr<train::Callback>& watch,
                              const std::function<bool()>& done) {
  data::Dataset images = load_images(options);
  images = images.take(images.size() / options.batch_size * options.batch_size);  // whole batches only
  if (images.size() == 0) throw InvalidArgument("bench: fewer images than one batch");
  TrainConfig config;
  config.model = options.model;
  config.batch_size = options.batch_size;
  config.dtype = options.dtype;
  config.precision = options.precision;
  config.schedule = "constant";
  config.epochs = 1000000;
  resolve(config);
  nn::Model model = make_model(config.model, images, 1);
  model.module->to(parse_dtype(config.dtype));
  model.module->to(options.device);
  const auto optimizer = make_optimizer(config, *model.module);
  config.no_graph = options.no_graph;
  train::TrainerOptions settings = trainer_options(config, options.device);
  settings.normalization = data::Normalization::fit(data::Normalization::Kind::zscore, images.take(1000));
  settings.should_stop = done;
  train::Trainer trainer(*model.module, *optimizer, settings);
  trainer.add(watch);
  const train::FitResult fit = trainer.fit(images);
  return {training_flops(model), images.name, fit.graph_nodes};
}

JobResult bench_training(const JobOptions& options) {
  auto stopwatch = std::make_shared<Stopwatch>(options.steps, options.blocks, options.device);
  const WatchedTraining job = train_watched(options, stopwatch, [&] { return stopwatch->done(); });
  JobResult result =
      summarize_blocks(job.data, stopwatch->steps(), options.batch_size, stopwatch->seconds(), job.flops);
  result.graph_nodes = job.graph_nodes;
  return result;
}

JobResult bench_inference(const JobOptions& options) {
  data::Dataset images = load_images(options).take(256);
  nn::Model model = make_model(options.model, images, 1);
  model.module->to(parse_dtype(options.dtype)).to(options.device).eval();
  const NoGradGuard no_grad;
  const data::Normalization normalization = data::Normalization::fit(data::Normalization::Kind::zscore, images);
  const Tensor x =
      data::normalize(images.images, normalization, activation_type(options.precision, options.dtype), options.device);
  std::int64_t at = 0;
  const auto one = [&] {  // one inference, until its result is there
    (*model.module)(x.narrow(0, at, 1));
    synchronize(options.device);
    at = (at + 1) % x.size(0);
  };
  double begin = now();
  std::int64_t warm = 0;
  for (; warm < 50 || now() - begin < 0.1; ++warm) one();
  const double each = (now() - begin) / static_cast<double>(warm);
  const std::int64_t steps =
      options.steps > 0 ? options.steps : std::max<std::int64_t>(1, static_cast<std::int64_t>(kJobSeconds / each));
  std::vector<double> seconds;
  for (std::int64_t block = 0; block < options.blocks; ++block) {
    begin = now();
    for (std::int64_t i = 0; i < steps; ++i) one();
    seconds.push_back(now() - begin);
  }
  return summarize_blocks(images.name, steps, 1, std::move(seconds), forward_flops(model));
}

}  // namespace descent::cli
