// Checkpoints: keeps the newest few files DIR/checkpoint-STEP.safetensors. The newest one that reads back whole is
// never removed, whatever happened to the others.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "descent/error.h"
#include "descent/io.h"
#include "io/safetensors_read.h"

namespace descent::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kSuffix = ".safetensors";

template <class Integer>
std::optional<Integer> parse_digits(std::string_view digits) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && digits.front() != '-' ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  if (name.size() <= kPrefix.size() + kSuffix.size()) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  return parse_digits<std::int64_t>(name);
}

// The names in a directory; none if there is no directory.
std::vector<std::string> list(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) throw IoError(dir, "list directory", error.value());
  return names;
}

struct Candidate {
  std::int64_t step;
  std::string path;
};

std::vector<Candidate> candidates(const std::string& dir) {  // newest first
  std::vector<Candidate> found;
  for (const std::string& name : list(dir)) {
    if (const auto step = step_of(name)) found.push_back({*step, fmt::format("{}/{}", dir, name)});
  }
  std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) { return a.step > b.step; });
  return found;
}

bool reads_back(const std::string& path) {
  try {
    load_checkpoint(path);
    return true;
  } catch (const FormatError&) {
    return false;
  } catch (const IoError&) {
    return false;
  }
}

// A file that can't be removed stays: the new checkpoint is already saved, so the save has not failed.
void try_to_remove(const std::string& path) noexcept { static_cast<void>(unlink(path.c_str())); }

void prune(const std::string& dir, const std::string& saved, int keep) {
  bool verified = false;
  int kept = 0;
  for (const Candidate& candidate : candidates(dir)) {
    if (kept < keep || candidate.path == saved) {
      ++kept;
      verified = verified || reads_back(candidate.path);
    } else if (!verified && reads_back(candidate.path)) {
      verified = true;
    } else {
      try_to_remove(candidate.path);
    }
  }
}

// Removes temporary files of killed processes: .save-PID-NUMBER.tmp if no process PID exists.
void remove_leftovers(const std::string& dir) {
  for (const std::string& name : list(dir)) {
    if (!name.starts_with(".save-") || !name.ends_with(".tmp")) continue;
    const std::string_view rest = std::string_view(name).substr(6);
    const auto dash = rest.find('-');
    if (dash == std::string_view::npos || dash == 0) continue;
    const auto process = parse_digits<pid_t>(rest.substr(0, dash));
    if (process && kill(*process, 0) != 0 && errno == ESRCH) try_to_remove(fmt::format("{}/{}", dir, name));
  }
}

}  // namespace

std::string save_checkpoint(const std::string& dir, std::int64_t step, const TensorFile& file, int keep,
                            const SaveOptions& options) {
  if (step < 0) throw InvalidArgument(fmt::format("save_checkpoint: step {}, expected at least 0", step));
  if (keep < 1) throw InvalidArgument(fmt::format("save_checkpoint: keep {}, expected at least 1", keep));
  make_directories(dir);
  const std::string path = fmt::format("{}/{}{}{}", dir, kPrefix, step, kSuffix);
  save_tensors(path, file, options);
  prune(dir, path, keep);
  remove_leftovers(dir);
  return path;
}

FoundCheckpoint latest_valid_checkpoint(const std::string& dir) {
  FoundCheckpoint found;
  for (const Candidate& candidate : candidates(dir)) {
    try {
      found.file = load_checkpoint(candidate.path);
      found.path = candidate.path;
      found.step = candidate.step;
      return found;
    } catch (const FormatError& error) {
      found.damaged.push_back({candidate.path, error.what()});
    } catch (const IoError& error) {
      found.damaged.push_back({candidate.path, error.what()});
    }
  }
  return found;
}

}  // namespace descent::io
