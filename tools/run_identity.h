// What makes two parts of a training one run: the same options, the same model, the same images. config.json says it,
// and so does every checkpoint, of itself.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "descent/data.h"
#include "descent/device.h"
#include "descent/nn.h"
#include "train_config.h"

namespace descent::cli {

// What a run trains on. Datasets are known by their checksums, not by where they lie.
struct RunData {
  data::DatasetPair pair;           // after --limit-train and --limit-test
  data::Dataset train, validation;  // the parts of pair.train; validation is undefined without --validation
  nlohmann::json description;       // sizes and checksums, as config.json has them
};

// The content of config.json.
nlohmann::json describe_run(const TrainConfig& config, const nn::Model& model, const RunData& data, Device device);

// CRC32C of all parameters and buffers: the weights that --weights named.
std::uint32_t weights_checksum(const nn::Module& module);

// Loads what --data names. `saved` is the config.json of a run that is resumed, else null. With `fallback` it may load
// something else, and config.data then names that. Throws InvalidArgument where no images are left of a split.
RunData load_run_data(TrainConfig& config, bool fallback, const nlohmann::json& saved);

// Throws InvalidArgument where the checkpoint's own config.json, `text`, is of another training.
void check_checkpoint(const std::string& text, const nlohmann::json& now, const TrainConfig& config,
                      const std::string& path);

}  // namespace descent::cli
