// Writes metrics.jsonl and metrics.csv. Lines are buffered in memory and written every few seconds, at the end of each
// epoch and before each checkpoint, so the files always reach at least as far as the newest checkpoint.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "descent/error.h"
#include "descent/train.h"
#include "io/append_file.h"
#include "io/json.h"

namespace descent::train {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kColumns[] = {"type",     "step", "epoch",    "epochs_done",  "loss",
                                    "accuracy", "lr",   "val_loss", "val_accuracy", "images_per_second"};
constexpr double kFlushSeconds = 2;
constexpr std::size_t kMostKept = std::size_t{1} << 20;        // bytes of lines that could not be written yet
constexpr std::uint64_t kLargestLog = std::uint64_t{1} << 32;  // bytes of the log of an earlier run

double seconds_since(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

std::string csv_header() {
  std::string line;
  for (const char* column : kColumns) line += line.empty() ? column : fmt::format(",{}", column);
  return line + "\n";
}

std::string csv_line(const Json& record) {
  std::string line;
  for (const char* column : kColumns) {
    if (!line.empty()) line += ',';
    const auto it = record.find(column);
    if (it != record.end()) line += it->is_string() ? it->get<std::string>() : it->dump();
  }
  return line + "\n";
}

class MetricsLog : public Callback {
 public:
  MetricsLog(const std::string& dir, std::int64_t every, Warn warn)
      : jsonl_path_(dir + "/metrics.jsonl"),
        csv_path_(dir + "/metrics.csv"),
        dir_(dir),
        every_(every),
        warn_(std::move(warn)) {
    if (every < 1) throw InvalidArgument(fmt::format("metrics_log: every is {}, expected at least 1", every));
  }

  std::string name() const override { return "metrics"; }

  void on_begin(Trainer& trainer) override {
    io::make_directories(dir_);
    std::string jsonl;
    std::string csv = csv_header();
    if (trainer.step() > 0) keep_lines(trainer.position().epoch, jsonl, csv);
    io::write_text(jsonl_path_, jsonl);
    io::write_text(csv_path_, csv);
    since_ = flushed_ = Clock::now();
    images_ = 0;
  }

  void on_step(Trainer&, const StepInfo& info) override {
    images_ += info.images;
    now_ = {info.loss_sum, info.num_correct, info.num_examples};
    info_ = info;
    if (info.synced && info.step - last_step_ >= every_) write_step();
  }

  void on_epoch(Trainer&, const EpochInfo& info) override {
    if (now_.num_examples > start_.num_examples) write_step();
    Json record = {{"type", "epoch"},
                   {"step", info.step},
                   {"epoch", info.epoch},
                   {"epochs_done", static_cast<double>(info.epoch + 1)},
                   {"loss", io::to_json_number(info.train.loss)},
                   {"accuracy", info.train.accuracy},
                   {"lr", info.learning_rate}};
    if (info.validation.count > 0) {
      record["val_loss"] = io::to_json_number(info.validation.loss);
      record["val_accuracy"] = info.validation.accuracy;
    }
    write(record);
    start_ = now_ = {};
    flush();
    since_ = Clock::now();  // excludes the time of validation
    images_ = 0;
  }

  void on_end(Trainer&, StopReason) override { flush(); }

  // The sums not yet written as a line, and how far the files have come.
  std::string save() const override {
    flush();
    return Json{{"start", to_json(start_)},
                {"now", to_json(now_)},
                {"last_step", last_step_},
                {"step", info_.step},
                {"epoch", info_.epoch},
                {"batch_images", info_.batch_images},
                {"epoch_images", info_.epoch_images},
                {"lr", info_.learning_rate}}
        .dump();
  }

  void restore(const std::string& text) override {
    try {
      const Json saved = io::parse_json(text, "callback");
      start_ = window_of(saved.at("start"));
      now_ = window_of(saved.at("now"));
      saved.at("last_step").get_to(last_step_);
      saved.at("step").get_to(info_.step);
      saved.at("epoch").get_to(info_.epoch);
      saved.at("batch_images").get_to(info_.batch_images);
      saved.at("epoch_images").get_to(info_.epoch_images);
      saved.at("lr").get_to(info_.learning_rate);
    } catch (const FormatError& error) {
      throw InvalidArgument(fmt::format("resume: the metrics' state in the checkpoint: {}", error.what()));
    } catch (const Json::exception& error) {
      throw InvalidArgument(fmt::format("resume: the metrics' state in the checkpoint: {}", error.what()));
    }
  }

 private:
  struct Window {
    double loss = 0;
    std::int64_t num_correct = 0, num_examples = 0;
  };

  static Json to_json(const Window& w) { return {io::to_json_number(w.loss), w.num_correct, w.num_examples}; }
  static Window window_of(const Json& json) {
    return {io::from_json_number(json.at(0)), json.at(1).get<std::int64_t>(), json.at(2).get<std::int64_t>()};
  }

  void write_step() {
    const double seen = static_cast<double>(now_.num_examples - start_.num_examples);
    const double done = static_cast<double>(info_.epoch) +
                        static_cast<double>(info_.batch_images) / static_cast<double>(info_.epoch_images);
    write({{"type", "step"},
           {"step", info_.step},
           {"epoch", info_.epoch},
           {"epochs_done", done},
           {"loss", io::to_json_number((now_.loss - start_.loss) / seen)},
           {"accuracy", static_cast<double>(now_.num_correct - start_.num_correct) / seen},
           {"lr", info_.learning_rate},
           {"images_per_second", std::round(static_cast<double>(images_) / std::max(seconds_since(since_), 1e-9))}});
    start_ = now_;
    last_step_ = info_.step;
    since_ = Clock::now();
    images_ = 0;
    if (seconds_since(flushed_) > kFlushSeconds) flush();
  }

  void write(const Json& record) {
    jsonl_ += record.dump() + "\n";
    csv_ += csv_line(record);
  }

  void flush() const {
    append(jsonl_path_, jsonl_);
    append(csv_path_, csv_);
    flushed_ = Clock::now();
  }

  // Text that can't be written now is kept for the next attempt, up to kMostKept bytes.
  void append(const std::string& path, std::string& text) const {
    if (text.empty()) return;
    const int error = io::append_file(path, text);
    if (error == 0 || text.size() > kMostKept) text.clear();
    if (error != 0 && !warned_ && warn_) {
      warn_(IoError(path, "append", error).what());
      warned_ = true;
    }
  }

  // Keeps the lines of an earlier run up to its checkpoint; later ones will be written again.
  void keep_lines(std::int64_t epoch, std::string& jsonl, std::string& csv) const {
    std::error_code unknown;
    if (!std::filesystem::exists(jsonl_path_, unknown)) return;
    std::istringstream lines(io::read_text(jsonl_path_, kLargestLog));
    for (std::string line; std::getline(lines, line);) {
      const Json record = io::parse_json_line(line);
      if (!record.is_object() || !record.contains("type")) continue;
      const bool is_step = record["type"] == "step";
      const auto at = record.find(is_step ? "step" : "epoch");
      if (at == record.end() || !at->is_number_integer()) continue;
      const auto number = at->get<std::int64_t>();
      if (is_step ? number > last_step_ : number >= epoch) continue;
      jsonl += line + "\n";
      csv += csv_line(record);
    }
  }

  std::string jsonl_path_, csv_path_, dir_;
  std::int64_t every_;
  Warn warn_;
  Window start_, now_;  // the epoch's sums as of the last line, and now
  StepInfo info_;
  std::int64_t last_step_ = 0;
  std::int64_t images_ = 0;
  Clock::time_point since_;
  mutable Clock::time_point flushed_;
  mutable std::string jsonl_, csv_;
  mutable bool warned_ = false;
};

}  // namespace

std::shared_ptr<Callback> metrics_log(const std::string& dir, std::int64_t every, const Warn& warn) {
  return std::make_shared<MetricsLog>(dir, every, warn);
}

}  // namespace descent::train
