// runs/NAME/: config.json, metrics.jsonl, metrics.csv, checkpoint-*.safetensors, model.safetensors, report.html.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "replaced_run.h"
#include "run_lock.h"
#include "train_config.h"

namespace descent::cli {

struct RunFolder {
  std::string path;
  bool resumed = false;                   // continues an existing run
  bool replaces = false;                  // replaces an existing run
  nlohmann::json config;                  // of the resumed run: its config.json
  std::shared_ptr<RunLock> lock;          // declared before `replaced`, whose destructor needs the lock
  std::shared_ptr<ReplacedRun> replaced;  // to be removed after the first checkpoint

  std::string file(const std::string& name) const { return path + "/" + name; }
};

// Without `out`, begin_run chooses runs/MODEL-DATA, with a number if that is taken. Throws InvalidArgument for an
// existing run unless it is resumed or, with `force`, replaced, and for a folder in which a training is running. Locks
// an existing folder and cleans up after a process that was killed in it.
RunFolder open_run_folder(const std::string& out, bool resume, bool force);

// Creates and locks the folder, and moves a replaced run aside: to be called when every check has passed.
void begin_run(RunFolder& folder, const TrainConfig& config);

// `path` itself or, if it is a run folder, the model.safetensors in it.
std::string model_path(const std::string& path);

nlohmann::json read_json_file(const std::string& path);

}  // namespace descent::cli
