// runs/NAME/: config.json, metrics.jsonl, metrics.csv, checkpoint-*.safetensors, model.safetensors, report.html.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "train_config.h"

namespace descent::cli {

struct RunFolder {
  std::string path;
  bool resumed = false;   // there is a run to go on with
  bool replaces = false;  // there is one that is in the way
  nlohmann::json config;  // its config.json, when resumed

  std::string file(const std::string& name) const { return path + "/" + name; }
};

// `out` empty: runs/MODEL-DATA, with a number when that is taken. An existing run is refused unless it is to be resumed
// or, with `force`, replaced. The folder itself is made when the first file is.
RunFolder open_run_folder(const std::string& out, bool resume, bool force, const TrainConfig& config);

// Removes the files of a run that is replaced, and no others: to be called when nothing can be refused any more.
void clear_run_folder(const RunFolder& folder);

// `path` itself, or model.safetensors in the run folder that it names.
std::string model_path(const std::string& path);

nlohmann::json read_json_file(const std::string& path);

}  // namespace descent::cli
