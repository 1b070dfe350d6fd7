// descent train: data, model, training, test, model file and report.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <exception>
#include <filesystem>
#include <optional>
#include <utility>

#include "bytes_json.h"
#include "cli.h"
#include "descent/error.h"
#include "json_text.h"
#include "run_folder.h"
#include "run_identity.h"
#include "signals.h"
#include "train_config.h"
#include "training.h"
#include "weights.h"

namespace descent::cli {
namespace train_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent train --model cnn --data mnist --epochs 3 --seed 1\n"
    "  descent train --model mlp --data fashion-mnist --epochs 10 --validation 0.1 --early-stop 3 --out runs/clothes\n"
    "  descent train --resume --out runs/clothes          goes on where it stopped, bit for bit\n"
    "  descent train --model my-model.json --data my-folder --optimizer sgd --lr 0.05 --schedule cosine\n"
    "\nSignals: SIGINT (Ctrl-C), SIGTERM and SIGHUP finish the step, save a checkpoint and end with 128 + the "
    "signal's\n"
    "number; a second SIGINT or SIGTERM ends at once, and so does one in the final evaluation, which --resume "
    "repeats.\n"
    "SIGUSR1 saves a checkpoint and goes on.\n";
constexpr std::int64_t kWorst = 24;
constexpr const char* kConfig = "config";  // key in a checkpoint's metadata
constexpr std::uint64_t kLargestLog = std::uint64_t{1} << 32;

struct Options {
  TrainConfig config;
  std::string out;
  bool resume = false, force = false, json = false, quiet = false, fallback = false;
  const CLI::App* command = nullptr;
};

struct Job {  // what a training consists of
  RunFolder folder;
  TrainConfig config;
  Device device;
  RunData data;
  data::Normalization normalization;
  nn::Model model;
  Json description;                // what config.json and the checkpoints say
  io::FoundCheckpoint checkpoint;  // to resume from, until it is restored
};

// The model given when a run is resumed: it may have another path now, but must be the same.
void check_same_model(const std::string& asked, const Job& job, const Json& saved) {
  if (Json::parse(make_model(asked, job.data.train, job.config.seed).json) == saved) return;
  throw InvalidArgument(fmt::format("--model {} is another model than the run's: leave it out, or start a new run",
                                    escape_path(asked, 200)));
}

// Fine-tuning. The weights are identified by their checksum; a run that resumes from a checkpoint does not need the
// file any more, unless it is given again. Returns the checksum, or null without --weights.
Json start_from_weights(const Job& job, const Options& options) {
  if (job.config.weights.empty()) return {};
  const Json before = job.folder.resumed ? job.folder.config.value("weights_crc32c", Json()) : Json();
  const bool named = options.command->get_option("--weights")->count() > 0;
  if (!job.checkpoint.path.empty() && !named) return before;
  load_weights(job.config.weights, *job.model.module);
  const Json now = weights_checksum(*job.model.module);
  if (job.folder.resumed && now != before) {
    throw InvalidArgument(fmt::format("--weights {}: these are not the weights that the run was started from",
                                      escape_path(job.config.weights, 200)));
  }
  return now;
}

Job prepare(const Options& options) {
  Job job;
  job.config = options.config;
  job.folder = open_run_folder(options.out, options.resume, options.force);
  std::string model = job.config.model;
  if (job.folder.resumed) {
    const std::string path = job.folder.file("config.json");
    job.config = merge(object_field(job.folder.config, "options", path), options.config, *options.command, path);
    model = object_field(job.folder.config, "model", path).dump();
    job.checkpoint = io::latest_valid_checkpoint(job.folder.path);
  }
  resolve(job.config);
  job.device = parse_device(job.config.device);
  use_precision(job.config.precision, job.device);
  set_num_threads(job.config.threads);
  job.data = load_run_data(job.config, options.fallback, job.folder.resumed ? job.folder.config : Json());
  job.normalization = data::Normalization::fit(data::parse_normalization(job.config.normalization), job.data.train);
  if (job.folder.resumed && options.command->get_option("--model")->count() > 0) {
    check_same_model(job.config.model, job, job.folder.config.value("model", Json()));
  }
  job.model = make_model(model, job.data.train, job.config.seed);
  job.model.module->to(parse_dtype(job.config.dtype));
  const Json weights = start_from_weights(job, options);
  job.model.module->to(job.device);
  job.description = describe_run(job.config, job.model, job.data, job.device);
  if (!weights.is_null()) job.description["weights_crc32c"] = weights;
  return job;
}

void write_config(const Job& job) {
  io::make_directories(job.folder.path);
  io::write_text(job.folder.file("config.json"), job.description.dump(2) + "\n");
}

bool has_convolutions(const nn::Model& model) {
  for (const nn::LayerSummary& layer : nn::summarize(*model.module, model.input)) {
    if (layer.type.starts_with("Conv")) return true;
  }
  return false;
}

// Shows which CUDA libraries the run uses: without cuDNN it is slower, and nothing else would say so.
void announce_cuda(const Job& job) {
  if (job.device.type != DeviceType::cuda) return;
  say(fmt::format("cuda    {}", describe(cuda_build())));
  if (!has_convolutions(job.model)) return;
  const std::string why = cudnn_unavailable_reason(job.device);
  if (!why.empty()) say(fmt::format("cuda    convolutions without cuDNN: {}", why));
}

void announce(const Job& job) {
  say(fmt::format("data    {}: {} training, {} validation, {} test images ({})", job.data.train.name,
                  thousands(job.data.train.size()), thousands(job.data.validation.size()),
                  thousands(job.data.pair.test.size()), job.data.train.source));
  say(fmt::format("model   {}: {} parameters, {:.2f} MFLOP per image", job.model.name,
                  thousands(job.model.module->parameter_count()), job.model.module->flops(job.model.input) / 1e6));
  const std::string precision = job.config.precision == "f32"    ? ""
                                : job.config.precision == "bf16" ? ", activations in bf16"
                                                                 : ", products in " + job.config.precision;
  say(fmt::format("device  {}, {} threads{}; {}, learning rate {:g}, {}; seed {}", device_name(job.device),
                  num_threads(), precision, job.config.optimizer, job.config.lr, job.config.schedule, job.config.seed));
  announce_cuda(job);
  say(fmt::format("folder  {}", job.folder.path));
}

void restore(Job& job, train::Trainer& trainer) {
  if (!job.folder.resumed) return;
  const io::FoundCheckpoint found = std::exchange(job.checkpoint, {});
  for (const io::DamagedFile& damaged : found.damaged)
    warn(fmt::format("passed over a damaged checkpoint: {}", damaged.reason));
  if (found.path.empty()) {
    if (!found.damaged.empty()) {
      throw FormatError(
          fmt::format("{}: no checkpoint is whole; --force starts anew", escape_path(job.folder.path, 200)));
    }
    say("resume  there is no checkpoint yet: starting from the beginning");
    return;
  }
  if (const auto config = found.file.metadata.find(kConfig); config != found.file.metadata.end()) {
    check_checkpoint(config->second, job.description, job.config, found.path);
  }
  trainer.load_state_dict(found.file);
  say(fmt::format("resume  {}, step {}, epoch {}", found.path, trainer.step(), trainer.position().epoch + 1));
}

void write_report(const Job& job, const train::Evaluation& evaluation, const std::string& sha,
                  std::vector<std::pair<std::string, std::string>> facts) {
  train::Report report;
  report.title = fmt::format("{} on {}", job.model.name, job.data.pair.test.name);
  report.dataset = fmt::format("{} images of {}", thousands(job.data.train.size()), job.data.train.name);
  report.class_names = job.data.pair.test.class_names;
  report.facts = std::move(facts);
  report.config = rows(job.config);
  report.config.emplace_back("SHA-256 of model.safetensors", sha);
  report.reproduce = command_line(job.config, job.device);
  report.metrics_jsonl = io::read_text(job.folder.file("metrics.jsonl"), kLargestLog);
  report.evaluation = evaluation;
  report.images = job.data.pair.test;
  report.model = job.model.module.get();
  io::write_text(job.folder.file("report.html"), train::render_report(report));
}

std::string file_sha256(const std::string& path) { return io::sha256_hex(io::read_file(path)); }

int finish(const Job& job, train::Trainer& trainer, const train::FitResult& fit, double seconds,
           const Options& options) {
  const std::string model_file = job.folder.file("model.safetensors");
  train::save_model(model_file, *job.model.module,
                    {job.model.json, job.data.train.name, job.data.train.class_names, job.normalization});
  if (job.folder.replaced) job.folder.replaced->remove();
  const train::Evaluation evaluation = trainer.evaluate(job.data.pair.test, kWorst);
  const train::Metrics& test = evaluation.metrics;
  const auto wrong = static_cast<std::int64_t>(std::llround((1 - test.accuracy) * static_cast<double>(test.count)));
  const std::string sha = file_sha256(model_file);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"Test loss", fmt::format("{:.4f}", test.loss)},
      {"Wrong", fmt::format("{} of {}", thousands(wrong), thousands(test.count))},
      {"Parameters", thousands(job.model.module->parameter_count())},
      {"Steps", thousands(fit.step)},
      {"Device", fmt::format("{}, {} threads", device_name(job.device), num_threads())}};
  if (!job.folder.resumed) facts.insert(facts.begin() + 4, {"Time", fmt::format("{:.1f} s", seconds)});
  if (fit.best_epoch >= 0) facts.emplace_back("Best epoch", std::to_string(fit.best_epoch + 1));
  std::exception_ptr failed;  // thrown after the result is printed, which doesn't depend on the report
  try {
    write_report(job, evaluation, sha, std::move(facts));
  } catch (const Error&) {
    failed = std::current_exception();
  }
  if (options.json) {
    print_json({{"model", job.model.name},
                {"data", job.data.train.name},
                {"test_accuracy", test.accuracy},
                {"test_loss", test.loss},
                {"test_images", test.count},
                {"device", to_string(job.device)},
                {"compute_precision", job.config.precision == "f32" ? job.config.dtype : job.config.precision},
                {"epochs", trainer.position().epoch},
                {"steps", fit.step},
                {"best_epoch", fit.best_epoch >= 0 ? Json(fit.best_epoch + 1) : Json()},
                {"early_stop", fit.end == train::StopReason::early_stop},
                {"seconds", seconds},
                {"folder", job.folder.path},
                {"model_file", model_file},
                {"sha256", sha}});
  } else {
    print(fmt::format("test accuracy {:.2f} % on {}, loss {:.4f} ({} of {} wrong)\nmodel   {}\n{}", test.accuracy * 100,
                      job.data.pair.test.name, test.loss, thousands(wrong), thousands(test.count),
                      escape_path(model_file),
                      failed ? "" : fmt::format("report  {}\n", escape_path(job.folder.file("report.html")))));
  }
  if (failed) std::rethrow_exception(failed);
  return kOk;
}

// Finds errors in the options of the schedule now: in the first step an old run would be gone already.
void check_schedule(const train::TrainerOptions& settings, std::int64_t images) {
  const auto divide_up = [](std::int64_t a, std::int64_t b) { return (a - 1) / b + 1; };
  const std::int64_t batches =
      settings.drop_last ? images / settings.batch_size : divide_up(images, settings.batch_size);
  const std::int64_t steps = divide_up(batches, settings.accumulation_steps);
  if (settings.learning_rate) settings.learning_rate(0, steps * settings.epochs);
}

// Reports now what could not be written at the end. The folder itself is created before the first step.
void check_outputs(const RunFolder& folder) {
  if (folder.path.empty()) return;  // it will be a new folder
  for (const char* name : {"config.json", "metrics.jsonl", "metrics.csv", "model.safetensors", "report.html"}) {
    const std::string path = folder.file(name);
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) throw IoError(path, "write", EISDIR);
  }
  if (access(folder.path.c_str(), F_OK) == 0 && access(folder.path.c_str(), W_OK | X_OK) != 0) {
    throw IoError(folder.path, "write in the run folder", errno);
  }
}

int train_model(const Options& options) {
  catch_save_requests();
  Job job = prepare(options);
  const auto optimizer = make_optimizer(job.config, *job.model.module);
  train::TrainerOptions settings = trainer_options(job.config, job.device);
  std::optional<StopSignals> signals(std::in_place);
  settings.normalization = job.normalization;
  settings.should_stop = [&] { return signals->received() != 0; };
  train::Trainer trainer(*job.model.module, *optimizer, settings);
  const data::Dataset* validation = job.data.validation.size() > 0 ? &job.data.validation : nullptr;
  trainer.check(job.data.train, validation, &job.data.pair.test);
  check_schedule(settings, job.data.train.size());
  check_outputs(job.folder);
  // All checks have passed: from here on the run folder changes.
  begin_run(job.folder, job.config);
  if (!options.quiet) announce(job);
  if (!options.quiet) trainer.add(train::progress());
  trainer.add(train::metrics_log(job.folder.path, job.config.metrics_every, warn));
  train::CheckpointOptions checkpoints;
  checkpoints.dir = job.folder.path;
  checkpoints.every_steps = job.config.checkpoint_every;
  checkpoints.keep = static_cast<int>(job.config.keep);
  checkpoints.warn = warn;
  checkpoints.metadata[kConfig] = job.description.dump();
  checkpoints.requested = take_save_request;
  checkpoints.saved = [&](const std::string&) {
    if (job.folder.replaced) job.folder.replaced->remove();
  };
  trainer.add(train::checkpoints(checkpoints));
  restore(job, trainer);
  write_config(job);

  const auto begin = std::chrono::steady_clock::now();
  const train::FitResult fit = trainer.fit(job.data.train, validation);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (fit.end == train::StopReason::interrupted) {
    say(fmt::format("stopped at step {}; to go on: descent train --resume --out {}", fit.step,
                    shell_quote(job.folder.path)));
    return kSignal + signals->received();
  }
  signals.reset();  // --resume repeats the rest from the checkpoint, so a signal ends it at once
  if (fit.end == train::StopReason::early_stop && !options.quiet) {
    say(fmt::format("stopped early: no better validation loss for {} epochs", job.config.early_stop));
  }
  return finish(job, trainer, fit, seconds, options);
}

}  // namespace
}  // namespace train_command

void add_train(CLI::App& app, Run& run) {
  using namespace train_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(app, "train", "Train a model and write a run folder", kExamples);
  options->command = command;
  add_options(*command, options->config);
  command->add_option("--out,-o", options->out, "run folder (default: runs/MODEL-DATA)")->group("Run folder");
  command->add_flag("--resume", options->resume, "go on with the run in --out from its newest whole checkpoint")
      ->group("Run folder");
  command->add_flag("--force", options->force, "replace the run in --out")->group("Run folder");
  command
      ->add_flag("--fallback", options->fallback, "take another dataset, and say so, where the wanted one can't be had")
      ->group("Job");
  command->add_flag("--quiet,-q", options->quiet, "no progress");
  command->add_flag("--json", options->json, "the result as one JSON object on standard output");
  command->callback([options, &run] { run = [options] { return train_model(*options); }; });
}

}  // namespace descent::cli
