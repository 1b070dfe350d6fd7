// Moves an old run aside and back. Two folders in the run folder record the progress, so that what a killed process
// leaves is never mistaken for something else. `.moving-run`: the move is incomplete, and all run files, in it and
// above it, are the old run's. `.replaced-run`: it contains all files of the old run; those above it are the new run's.
#include "replaced_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "cli.h"
#include "descent/error.h"
#include "descent/io.h"

namespace descent::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config.json";

std::string moving(const std::string& folder) { return folder + "/.moving-run"; }
std::string replaced(const std::string& folder) { return folder + "/.replaced-run"; }

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_checkpoint(std::string_view name) { return name.starts_with("checkpoint-") && name.ends_with(".safetensors"); }

bool belongs_to_run(std::string_view name) {
  for (const std::string_view mine : {kConfig, std::string_view("metrics.jsonl"), std::string_view("metrics.csv"),
                                      std::string_view("model.safetensors"), std::string_view("report.html")}) {
    if (name == mine) return true;
  }
  return is_checkpoint(name);
}

// The names of the run's files in a folder. A directory with such a name is not ours and is never touched.
std::vector<std::string> run_files(const std::string& folder, std::error_code& error) {
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    std::error_code unknown;
    const bool directory = fs::is_directory(it->symlink_status(unknown));
    if (belongs_to_run(name) && !directory) names.push_back(std::move(name));
  }
  return names;
}

void move_run(const std::string& from, const std::string& to, std::error_code& error) {
  const std::vector<std::string> names = run_files(from, error);
  for (const std::string& name : names) {
    if (!error) fs::rename(fs::path(from) / name, fs::path(to) / name, error);
  }
}

bool has_checkpoint(const std::string& folder) {
  std::error_code error;
  const std::vector<std::string> names = run_files(folder, error);
  return std::any_of(names.begin(), names.end(), is_checkpoint);
}

std::error_code move_back(const std::string& folder) {  // from .moving-run
  std::error_code error;
  move_run(moving(folder), folder, error);
  if (!error) fs::remove(moving(folder), error);
  return error;
}

std::error_code put_back(const std::string& folder) {  // from .replaced-run, in place of the new run
  std::error_code error;
  for (const std::string& name : run_files(folder, error)) {
    if (!error) fs::remove(fs::path(folder) / name, error);
  }
  if (!error) fs::rename(replaced(folder), moving(folder), error);
  return error ? error : move_back(folder);
}

}  // namespace

bool holds_run(const std::string& folder) { return is_there(folder + "/" + std::string(kConfig)); }
bool holds_replaced(const std::string& folder) { return is_there(replaced(folder)); }

ReplacedRun::ReplacedRun(const std::string& folder) : folder_(folder) {
  if (holds_replaced(folder)) return;
  std::error_code error;
  fs::create_directory(moving(folder), error);
  if (!error) move_run(folder, moving(folder), error);
  if (!error) fs::rename(moving(folder), replaced(folder), error);
  if (!error) return;
  move_back(folder);
  throw IoError(folder, "move the old run aside", error.value());
}

ReplacedRun::~ReplacedRun() {
  if (removed_) return;
  try {
    if (const std::error_code error = put_back(folder_)) {
      warn(fmt::format("the old run could not be put back ({}): look into {} and {}", error.message(),
                       replaced(folder_), moving(folder_)));
    } else {
      say(fmt::format("the new run has no checkpoint: the old one is back in {}", folder_));
    }
  } catch (...) {  // out of memory: it stays aside until a process opens the folder
  }
}

void ReplacedRun::remove() noexcept {
  if (removed_) return;
  removed_ = true;
  try {
    std::error_code error;
    fs::remove_all(replaced(folder_), error);
    if (error) warn(fmt::format("the old run could not be removed ({}): {}", error.message(), replaced(folder_)));
  } catch (...) {  // out of memory: likewise
  }
}

void settle_replaced_run(const std::string& folder, bool drop_new) {
  std::error_code error;
  if (is_there(moving(folder))) error = move_back(folder);
  if (!error && holds_replaced(folder)) {
    if (holds_run(folder) && has_checkpoint(folder)) {
      ReplacedRun(folder).remove();
    } else if (!holds_run(folder) || drop_new) {
      error = put_back(folder);
    }
  }
  if (error) throw IoError(folder, "put the old run back", error.value());
}

}  // namespace descent::cli
