// Finds, creates and locks run folders.
#include "run_folder.h"

#include <fmt/format.h>

#include <filesystem>

#include "descent/error.h"
#include "descent/io.h"
#include "json_text.h"

namespace descent::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLargestConfig = std::uint64_t{1} << 22;

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_directory(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::string stem(const std::string& name) {
  fs::path path(name);
  while (path.has_relative_path() && path.filename().empty()) path = path.parent_path();
  return path.stem().string();
}

// Creates runs/MODEL-DATA, or the first free name with a number; safe if other processes do the same.
std::string make_new_folder(const TrainConfig& config) {
  const std::string base = fmt::format("runs/{}-{}", stem(config.model), stem(config.data));
  std::string path = base;
  for (int number = 2;; ++number) {
    std::error_code unknown;
    const bool taken = fs::exists(fs::symlink_status(path, unknown));
    if (!taken && io::make_directories(path)) break;
    path = fmt::format("{}-{}", base, number);
  }
  return path;
}

[[noreturn]] void refuse_existing(const std::string& path) {
  throw InvalidArgument(fmt::format("--out: {} holds a run already: --resume goes on with it, --force replaces it",
                                    escape_path(path, 200)));
}

[[noreturn]] void refuse_to_resume(const std::string& path, const char* has) {
  throw InvalidArgument(fmt::format("--resume: {} holds no run: it has {}; leave out --resume to start one there",
                                    escape_path(path, 200), has));
}

}  // namespace

nlohmann::json read_json_file(const std::string& path) {
  return parse_json_object(io::read_text(path, kLargestConfig), path);
}

RunFolder open_run_folder(const std::string& out, bool resume, bool force) {
  if (resume && out.empty()) throw InvalidArgument("--resume: needs --out FOLDER, the run to go on with");
  if (resume && force) throw InvalidArgument("--resume and --force exclude each other");
  RunFolder folder;
  folder.path = out;
  while (folder.path.size() > 1 && folder.path.back() == '/') folder.path.pop_back();
  if (out.empty()) return folder;
  if (!exists(folder.path)) {
    if (resume) refuse_to_resume(folder.path, "not been made");
    return folder;
  }
  if (!is_directory(folder.path)) throw IoError(fmt::format("{}: not a directory", escape_path(folder.path)));
  if (holds_run(folder.path) && !resume && !force) refuse_existing(folder.path);
  folder.lock = std::make_shared<RunLock>(folder.path);
  settle_replaced_run(folder.path, false);
  if (!holds_run(folder.path)) {
    if (resume) refuse_to_resume(folder.path, "no config.json");
    return folder;
  }
  if (!resume && !force) refuse_existing(folder.path);
  folder.resumed = resume;
  folder.replaces = force;
  if (resume) folder.config = read_json_file(folder.file("config.json"));
  return folder;
}

void begin_run(RunFolder& folder, const TrainConfig& config) {
  if (folder.path.empty()) folder.path = make_new_folder(config);
  if (!folder.lock) {
    io::make_directories(folder.path);
    folder.lock = std::make_shared<RunLock>(folder.path);
    if (holds_run(folder.path)) refuse_existing(folder.path);  // created since the check
  }
  if (folder.replaces) settle_replaced_run(folder.path, true);
  if (folder.replaces || holds_replaced(folder.path)) folder.replaced = std::make_shared<ReplacedRun>(folder.path);
}

std::string model_path(const std::string& path) {
  if (!is_directory(path)) return path;
  const std::string file = path + "/model.safetensors";
  if (!exists(file)) {
    throw IoError(fmt::format("{}: holds no model.safetensors (is the training finished?)", escape_path(path, 256)));
  }
  return file;
}

}  // namespace descent::cli
