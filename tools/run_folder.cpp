// See run_folder.h.
#include "run_folder.h"

#include <fmt/format.h>

#include <filesystem>

#include "descent/error.h"
#include "descent/io.h"

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

bool belongs_to_run(const std::string& name) {
  for (const char* mine : {"config.json", "metrics.jsonl", "metrics.csv", "model.safetensors", "report.html"}) {
    if (name == mine) return true;
  }
  return name.starts_with("checkpoint-") && name.ends_with(".safetensors");
}

std::string stem(const std::string& name) {
  fs::path path(name);
  while (path.has_relative_path() && path.filename().empty()) path = path.parent_path();
  return path.stem().string();
}

std::string free_name(const TrainConfig& config) {
  const std::string base = fmt::format("runs/{}-{}", stem(config.model), stem(config.data));
  std::string path = base;
  for (int number = 2; exists(path); ++number) path = fmt::format("{}-{}", base, number);
  return path;
}

void remove_run(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (belongs_to_run(it->path().filename().string())) fs::remove(it->path(), error);
    if (error) break;
  }
  if (error) throw IoError(path, "remove the old run", error.value());
}

}  // namespace

nlohmann::json read_json_file(const std::string& path) {
  const std::string text = io::read_text(path, kLargestConfig);
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  // The parser takes a NUL for the end and would ignore what follows.
  if (json.is_discarded() || text.find('\0') != std::string::npos)
    throw FormatError(fmt::format("{}: not JSON", escape(path, 200)));
  return json;
}

RunFolder open_run_folder(const std::string& out, bool resume, bool force, const TrainConfig& config) {
  if (resume && out.empty()) throw InvalidArgument("--resume: needs --out FOLDER, the run to go on with");
  if (resume && force) throw InvalidArgument("--resume and --force exclude each other");
  RunFolder folder;
  folder.path = out.empty() ? free_name(config) : out;
  while (folder.path.size() > 1 && folder.path.back() == '/') folder.path.pop_back();
  if (exists(folder.path) && !is_directory(folder.path)) {
    throw IoError(fmt::format("{}: not a directory", escape(folder.path, 256)));
  }
  const bool has_run = exists(folder.file("config.json"));
  if (has_run && resume) {
    folder.resumed = true;
    folder.config = read_json_file(folder.file("config.json"));
  } else if (has_run && force) {
    folder.replaces = true;
  } else if (has_run) {
    throw InvalidArgument(fmt::format("--out: {} holds a run already: --resume goes on with it, --force replaces it",
                                      escape(folder.path, 200)));
  }
  return folder;
}

void clear_run_folder(const RunFolder& folder) {
  if (folder.replaces) remove_run(folder.path);
}

std::string model_path(const std::string& path) {
  if (!is_directory(path)) return path;
  const std::string file = path + "/model.safetensors";
  if (!exists(file)) {
    throw IoError(fmt::format("{}: holds no model.safetensors (is the training finished?)", escape(path, 256)));
  }
  return file;
}

}  // namespace descent::cli
