// descent eval: evaluates a saved model on a dataset's test images.
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "cli.h"
#include "descent/error.h"
#include "descent/train.h"
#include "run_folder.h"
#include "training.h"
#include "weights.h"

namespace descent::cli {
namespace eval_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent eval --model runs/first/model.safetensors --data mnist\n"
    "  descent eval --model runs/first --json | jq .accuracy\n"
    "  descent eval --model cnn --weights from-pytorch.safetensors --data mnist\n";

struct Options {
  ModelOptions model;
  std::string data, device = "auto", dtype = "f32", precision = "f32";
  std::int64_t batch_size = 256, limit_test = 0;
  int threads = 0;
  bool json = false, on_train = false;
};

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json to_json(const train::Evaluation& evaluation, const std::vector<std::string>& names) {
  Json classes = Json::array();
  Json confusion = Json::array();
  for (std::int64_t c = 0; c < evaluation.classes; ++c) {
    classes.push_back({{"class", c},
                       {"name", names[static_cast<std::size_t>(c)]},
                       {"images", evaluation.images_of(c)},
                       {"recall", number_or_null(evaluation.recall(c))},
                       {"precision", number_or_null(evaluation.precision(c))}});
    Json row = Json::array();
    for (std::int64_t p = 0; p < evaluation.classes; ++p) row.push_back(evaluation.at(c, p));
    confusion.push_back(std::move(row));
  }
  return {{"accuracy", evaluation.metrics.accuracy},
          {"loss", evaluation.metrics.loss},
          {"images", evaluation.metrics.count},
          {"classes", std::move(classes)},
          {"confusion", std::move(confusion)}};
}

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:6.2f} %", share * 100) : "     –  "; }

std::string table(const train::Evaluation& evaluation, const std::vector<std::string>& names) {
  std::size_t width = 5;
  for (const std::string& name : names) width = std::max(width, name.size());
  std::int64_t largest = 1;
  for (const std::int64_t count : evaluation.confusion) largest = std::max(largest, count);
  const std::size_t cell = std::to_string(largest).size() + 1;
  std::string text = fmt::format("{:<{}}  images    recall  precision   taken for\n", "class", width);
  for (std::int64_t c = 0; c < evaluation.classes; ++c) {
    text += fmt::format("{:<{}}  {:>6}  {}   {}  ", names[static_cast<std::size_t>(c)], width, evaluation.images_of(c),
                        percent(evaluation.recall(c)), percent(evaluation.precision(c)));
    for (std::int64_t p = 0; p < evaluation.classes; ++p) {
      const std::int64_t count = evaluation.at(c, p);
      text += count == 0 ? fmt::format("{:>{}}", '.', cell) : fmt::format("{:>{}}", count, cell);
    }
    text += '\n';
  }
  return text;
}

int evaluate_model(const Options& options) {
  const Device device = parse_device(options.device);
  if (options.precision != "f32" && options.dtype == "f64") {
    throw InvalidArgument(
        fmt::format("--precision {}: it is for --dtype f32, f64 is never rounded", options.precision));
  }
  use_precision(options.precision, device);
  set_num_threads(options.threads);
  data::DatasetPair pair;
  const auto load_data = [&](const std::string& name) {
    pair = data::load(name, data::FetchPolicy::download, data_log);
  };
  // Loaded before the model only if the model needs it: it may take a download, and the model may be missing.
  const bool data_first = !options.data.empty() && !options.model.weights.empty();
  if (data_first) load_data(options.data);
  const UsableModel model =
      load_usable_model(options.model, data_first ? &pair : nullptr, device, parse_dtype(options.dtype));
  const train::LoadedModel& loaded = model.loaded;
  if (options.data.empty() && loaded.info.dataset.empty()) {
    throw InvalidArgument("--data: which images? The weights don't say what they were trained on");
  }
  if (!data_first) load_data(options.data.empty() ? loaded.info.dataset : options.data);
  data::Dataset dataset = options.on_train ? pair.train : pair.test;
  if (options.limit_test > 0) dataset = dataset.take(options.limit_test);
  if (dataset.name != loaded.info.dataset && !loaded.info.dataset.empty()) {
    warn(fmt::format("the model was trained on {}, this is {}", loaded.info.dataset, dataset.name));
  }
  train::EvaluateOptions settings;
  settings.batch_size = options.batch_size;
  settings.dtype = activation_type(options.precision, options.dtype);
  settings.device = device;
  const auto begin = std::chrono::steady_clock::now();
  const train::Evaluation evaluation = train::evaluate(*loaded.module, dataset, loaded.info.normalization, settings);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const train::Metrics& metrics = evaluation.metrics;
  if (options.json) {
    Json result = to_json(evaluation, dataset.class_names);
    result["model"] = model.path;
    if (!options.model.weights.empty()) result["assumed"] = model.assumed;
    result["data"] = dataset.name;
    result["split"] = options.on_train ? "train" : "test";
    result["device"] = to_string(device);
    result["compute_precision"] = options.precision == "f32" ? options.dtype : options.precision;
    result["seconds"] = seconds;
    print_json(result);
    return kOk;
  }
  print(fmt::format("accuracy {:.2f} %  loss {:.4f}  on {} {} images of {}  ({:.2f} s, {} images/s)\n\n{}",
                    metrics.accuracy * 100, metrics.loss, thousands(metrics.count),
                    options.on_train ? "training" : "test", dataset.name, seconds,
                    thousands(static_cast<std::int64_t>(static_cast<double>(metrics.count) / seconds)),
                    table(evaluation, dataset.class_names)));
  return kOk;
}

}  // namespace
}  // namespace eval_command

void add_eval(CLI::App& app, Run& run) {
  using namespace eval_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "eval", "Measure a saved model on test images", kExamples);
  add_model_options(*command, o->model);
  command->add_option("--data,-d", o->data, "default: what the model was trained on");
  command->add_flag("--train", o->on_train, "the training images instead of the test images");
  command->add_option("--limit-test", o->limit_test, "only the first N images")->check(positive_count());
  command->add_option("--batch-size,-b", o->batch_size, "images at once")
      ->check(positive_count())
      ->capture_default_str();
  command->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command->add_option("--dtype", o->dtype, "f32 or f64")->check(any_of({"f32", "f64"}))->capture_default_str();
  command
      ->add_option("--precision", o->precision,
                   "f32, tf32 or bf16, as for train; the model doesn't say how it was trained")
      ->check(any_of({"f32", "tf32", "bf16"}))
      ->capture_default_str();
  add_threads(*command, o->threads);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return evaluate_model(*o); }; });
}

}  // namespace descent::cli
