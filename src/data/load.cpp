// Finds a dataset by name: in DESCENT_DATA_DIR, the cache and the distribution's packages, then on the network. Only
// on request (FetchPolicy::fallback) does another dataset replace it, with a warning. The returned dataset is always
// named after its actual content.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "data/directory.h"
#include "data/download.h"
#include "data/known.h"
#include "descent/data.h"
#include "descent/error.h"

namespace descent::data {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Empty if neither XDG_CACHE_HOME nor HOME is set.
std::string cache_directory(std::string_view name) {
  if (const std::string base = environment("XDG_CACHE_HOME"); !base.empty()) {
    return fmt::format("{}/descent/{}", base, name);
  }
  const std::string home = environment("HOME");
  return home.empty() ? "" : fmt::format("{}/.cache/descent/{}", home, name);
}

void say(const Log& log, const std::string& line) {
  if (log) log(line);
}

// The user's own files are accepted even if they were modified, but never under a name that their labels contradict.
std::optional<DatasetPair> from_user_directory(const KnownDataset& wanted, const Log& log) {
  const std::string base = environment("DESCENT_DATA_DIR");
  if (base.empty()) return std::nullopt;
  for (const std::string& directory : {fmt::format("{}/{}", base, wanted.name), base}) {
    if (!has_all_files(directory)) continue;
    const KnownDataset* found = identify(directory);
    if (found != nullptr && found != &wanted) {
      say(log, fmt::format("{} holds {}, not {}", directory, found->name, wanted.name));
      continue;
    }
    DatasetPair pair = load_directory(directory);
    if (found == nullptr) {
      pair.train.name = pair.test.name = fmt::format("{} (modified)", wanted.name);
      say(log, fmt::format("WARNING: {} is not the known {}: its labels' SHA-256 differ", directory, wanted.name));
    }
    return pair;
  }
  say(log, fmt::format("DESCENT_DATA_DIR={} has no {}", base, wanted.name));
  return std::nullopt;
}

DatasetPair load_known(const KnownDataset& wanted, FetchPolicy policy, const Log& log) {
  if (auto pair = from_user_directory(wanted, log)) return std::move(*pair);
  const std::string cache = cache_directory(wanted.name);
  for (const std::string& directory : {cache, std::string(wanted.package_directory)}) {
    if (!directory.empty() && has_all_files(directory) && identify(directory) == &wanted) {
      return load_directory(directory);
    }
  }
  if (policy == FetchPolicy::local) {
    throw IoError(fmt::format("{}: not in DESCENT_DATA_DIR and not in the cache {}", wanted.name, cache));
  }
  if (cache.empty())
    throw IoError(fmt::format("{}: no cache: set HOME, XDG_CACHE_HOME or DESCENT_DATA_DIR", wanted.name));
  download_dataset(wanted, cache, log);
  if (identify(cache) != &wanted) {
    throw FormatError(fmt::format("{}: its files are not those of {}; remove them to download again",
                                  escape_path(cache, 200), wanted.name));
  }
  return load_directory(cache);
}

DatasetPair load_or_replace(const KnownDataset& wanted, const Log& log) {
  std::vector<const KnownDataset*> order = {&wanted};
  const KnownDataset* fashion = find_known("fashion-mnist");
  if (&wanted != fashion) order.push_back(fashion);
  const auto replaced_by = [&](std::string_view name) {
    if (name == wanted.name) return;
    say(log, fmt::format("WARNING: using {} INSTEAD OF {}: its results say nothing about {}", name, wanted.name,
                         wanted.name));
  };
  for (const KnownDataset* candidate : order) {
    try {
      DatasetPair pair = load_known(*candidate, FetchPolicy::download, log);
      replaced_by(candidate->name);
      return pair;
    } catch (const IoError& error) {
      say(log, fmt::format("WARNING: {} can't be had: {}", candidate->name, error.what()));
    }
  }
  replaced_by("synthetic");
  return synthetic_digits();
}

}  // namespace

std::span<const std::string_view> dataset_names() {
  static constexpr std::string_view kNames[] = {"mnist", "fashion-mnist", "synthetic"};
  return kNames;
}

DatasetPair load(const std::string& name, FetchPolicy policy, const Log& log) {
  if (name == "synthetic") return synthetic_digits();
  if (const KnownDataset* known = find_known(name)) {
    return policy == FetchPolicy::fallback ? load_or_replace(*known, log) : load_known(*known, policy, log);
  }
  std::error_code error;
  if (name.find('/') == std::string::npos && !std::filesystem::exists(name, error) && !names_a_set(name)) {
    throw InvalidArgument(
        fmt::format("data \"{}\": expected mnist, fashion-mnist, synthetic or a directory", escape_path(name)));
  }
  return load_directory(name);
}

}  // namespace descent::data
