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
  bool resumed = false;                   // there is a run to go on with
  bool replaces = false;                  // there is one that is in the way
  nlohmann::json config;                  // its config.json, when resumed
  std::shared_ptr<RunLock> lock;          // before `replaced`, which is put back under it
  std::shared_ptr<ReplacedRun> replaced;  // to be removed with the first checkpoint

  std::string file(const std::string& name) const { return path + "/" + name; }
};

// `out` empty: runs/MODEL-DATA, with a number when that is taken. An existing run is refused unless it is to be resumed
// or, with `force`, replaced; so is a folder in which a training runs. Locks an existing folder and tidies up after a
// process that was killed in it.
RunFolder open_run_folder(const std::string& out, bool resume, bool force);

// Makes and locks the folder, and moves a run that is replaced aside: to be called when nothing can be refused any
// more.
void begin_run(RunFolder& folder, const TrainConfig& config);

// `path` itself, or model.safetensors in the run folder that it names.
std::string model_path(const std::string& path);

nlohmann::json read_json_file(const std::string& path);

}  // namespace descent::cli
