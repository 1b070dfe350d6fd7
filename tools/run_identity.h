// What makes two parts of a training one run, recorded in config.json and every checkpoint: options, model and images.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "descent/data.h"
#include "descent/device.h"
#include "descent/nn.h"
#include "train_config.h"

namespace descent::cli {

// The data of a run. Datasets are identified by their checksums, not by their location.
struct RunData {
  data::DatasetPair pair;           // after --limit-train and --limit-test
  data::Dataset train, validation;  // the parts of pair.train; validation is undefined without --validation
  nlohmann::json description;       // sizes and checksums, as in config.json
};

// The content of config.json.
nlohmann::json describe_run(const TrainConfig& config, const nn::Model& model, const RunData& data, Device device);

// CRC32C of all parameters and buffers; identifies the weights given by --weights.
std::uint32_t weights_checksum(const nn::Module& module);

// Loads the dataset of --data. `saved` is the config.json of a resumed run, else null. With `fallback` another dataset
// may be loaded, and config.data then names it. Throws InvalidArgument if a split would be empty, or if a resumed run
// had other data.
RunData load_run_data(TrainConfig& config, bool fallback, const nlohmann::json& saved);

// Throws InvalidArgument if the checkpoint's own config.json, `text`, belongs to another training.
void check_checkpoint(const std::string& text, const nlohmann::json& now, const TrainConfig& config,
                      const std::string& path);

}  // namespace descent::cli
