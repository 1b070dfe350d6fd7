// Describes the options, the model and the data of a run, and compares them on resume.
#include "run_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bytes_json.h"
#include "cli.h"
#include "descent/error.h"
#include "descent/io.h"
#include "descent/version.h"
#include "json_text.h"

namespace descent::cli {
namespace {

using Json = nlohmann::json;

std::uint32_t checksum(const data::Dataset& dataset) {
  const Tensor& images = dataset.images;
  const Tensor& labels = dataset.labels;
  const auto sum = io::crc32c({reinterpret_cast<const std::byte*>(images.data<std::uint8_t>()), images.bytes()});
  return io::crc32c({reinterpret_cast<const std::byte*>(labels.data<std::int32_t>()), labels.bytes()}, sum);
}

Json describe_data(const RunData& data) {
  const std::uint32_t all = checksum(data.pair.train);
  return {{"name", bytes_to_json(data.pair.train.name)},
          {"train", data.pair.train.size()},
          {"test", data.pair.test.size()},
          {"crc32c", all},
          {"test_crc32c", checksum(data.pair.test)},
          {"fitted_crc32c", data.validation.images.defined() ? checksum(data.train) : all}};
}

bool is_name(const std::string& data) {
  const auto names = data::dataset_names();
  return std::find(names.begin(), names.end(), data) != names.end();
}

data::DatasetPair load_pair(const TrainConfig& config, bool fallback, bool resumed) {
  const auto policy = fallback ? data::FetchPolicy::fallback : data::FetchPolicy::download;
  constexpr const char* kMoved = "{}; if the run's data lies elsewhere now: --data FOLDER";
  try {
    return data::load(config.data, policy, data_log);
  } catch (const IoError& error) {
    if (!resumed) throw;
    throw IoError(fmt::format(kMoved, error.what()));
  } catch (const InvalidArgument& error) {
    if (!resumed) throw;
    throw InvalidArgument(fmt::format(kMoved, error.what()));
  }
}

// A class that occurs in the test images but not in training can't be learned; often the files are sorted by class.
void warn_of_missing_classes(const RunData& data) {
  const std::vector<std::int64_t> train = data::class_counts(data.train), test = data::class_counts(data.pair.test);
  std::int64_t missing = 0;
  std::string first;
  for (std::size_t c = 0; c < std::min(train.size(), test.size()); ++c) {
    if (train[c] > 0 || test[c] == 0) continue;
    if (missing++ == 0) first = data.train.class_names[c];
  }
  if (missing == 0) return;
  warn(fmt::format("no training image shows class {}{}, test images do", escape(first),
                   missing > 1 ? fmt::format(" (nor {} other classes)", missing - 1) : ""));
}

void set_validation_aside(const TrainConfig& config, RunData& data) {
  data.train = data.pair.train;
  if (config.validation == 0) return;
  const data::Split split = data::stratified_split(data.pair.train, config.validation, config.seed);
  const auto images = static_cast<std::int64_t>(data.pair.train.size());
  const bool none = split.validation.empty();
  if (none || split.train.empty()) {
    throw InvalidArgument(fmt::format("--validation {}: of {} training images none would be left to {}",
                                      config.validation, images, none ? "validate on" : "train on"));
  }
  data.train = data.pair.train.subset(split.train);
  data.validation = data.pair.train.subset(split.validation);
}

[[noreturn]] void refuse_data(const char* what, const Json& now, const Json& before) {
  throw InvalidArgument(
      fmt::format("--resume: the data's \"{}\" is {}, when the run was started it was {}: --data must name the same "
                  "images",
                  what, now.dump(), escape(before.dump())));
}

// Whether the split is that of earlier versions, which rounded the number of validation images class by class.
bool split_as_before(const TrainConfig& config, const RunData& data) {
  if (config.validation == 0) return true;
  const std::vector<std::int64_t> all = data::class_counts(data.pair.train);
  const std::vector<std::int64_t> aside = data::class_counts(data.validation);
  for (std::size_t c = 0; c < all.size(); ++c) {
    if (aside[c] != std::llround(config.validation * static_cast<double>(all[c]))) return false;
  }
  return true;
}

void check_same_data(const TrainConfig& config, const RunData& data, const Json& saved) {
  const Json& now = data.description;
  for (const char* key : {"train", "crc32c", "test", "test_crc32c", "fitted_crc32c"}) {
    if (saved.contains(key) && saved[key] != now[key]) refuse_data(key, now[key], saved[key]);
  }
  if (!saved.contains("fitted_crc32c") && !split_as_before(config, data)) {
    throw InvalidArgument(
        "--resume: the run was started by an earlier version, which took other images for --validation: start it anew");
  }
}

}  // namespace

Json describe_run(const TrainConfig& config, const nn::Model& model, const RunData& data, Device device) {
  return {{"descent", fmt::format("{}.{}.{}", DESCENT_VERSION_MAJOR, DESCENT_VERSION_MINOR, DESCENT_VERSION_PATCH)},
          {"options", to_json(config)},
          {"model", Json::parse(model.json)},
          {"dataset", data.description},
          {"command", bytes_to_json(command_line(config, device))}};
}

std::uint32_t weights_checksum(const nn::Module& module) {
  std::uint32_t sum = 0;
  for (const nn::StateEntry& entry : module.state_dict()) {
    const std::vector<double> values = entry.tensor.to_vector<double>();
    sum = io::crc32c(std::as_bytes(std::span(values)), sum);
  }
  return sum;
}

RunData load_run_data(TrainConfig& config, bool fallback, const Json& saved) {
  const bool resumed = !saved.is_null();
  RunData data;
  data.pair = load_pair(config, fallback, resumed);
  // If --fallback chose another dataset, the run is from here on one on that dataset.
  if (is_name(config.data) && is_name(data.pair.train.name)) config.data = data.pair.train.name;
  if (!is_name(config.data)) config.data = absolute_path(config.data);  // a folder, or the prefix of its files
  const Json before = resumed ? object_field(saved, "dataset", "config.json") : Json::object();
  // A folder that was moved may have another name now; the model file keeps the first one.
  const Json name = before.value("name", Json());
  if (!name.is_null()) data.pair.train.name = data.pair.test.name = bytes_from_json(name);
  if (config.limit_train > 0) data.pair.train = data.pair.train.take(config.limit_train);
  if (config.limit_test > 0) data.pair.test = data.pair.test.take(config.limit_test);
  if (data.pair.train.size() == 0) throw InvalidArgument("train: there are no training images");
  if (data.pair.test.size() == 0) throw InvalidArgument("train: there are no test images");
  set_validation_aside(config, data);
  data.description = describe_data(data);
  if (resumed) {
    check_same_data(config, data, before);
  } else {
    warn_of_missing_classes(data);
  }
  return data;
}

void check_checkpoint(const std::string& text, const Json& now, const TrainConfig& config, const std::string& path) {
  const Json saved = parse_json_object(text, path + ": config");
  check_same_result(saved.value("options", Json()), config, path);
  const Json data = object_field(saved, "dataset", path);
  for (const char* key : {"train", "crc32c", "fitted_crc32c"}) {
    if (data.contains(key) && data[key] != now["dataset"][key]) {
      throw InvalidArgument(
          fmt::format("--resume: {} was made with other training data than config.json says", escape_path(path, 200)));
    }
  }
  if (saved.value("model", Json()) != now["model"]) {
    throw InvalidArgument(
        fmt::format("--resume: {} was made with another model than config.json says", escape_path(path, 200)));
  }
}

}  // namespace descent::cli
