// Finds the files of a dataset in a directory.
#include "data/directory.h"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStems[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                       "t10k-labels-idx1-ubyte"};

std::string dotted(std::string_view stem) {  // train-images.idx3-ubyte
  std::string other(stem);
  other[other.rfind("-idx")] = '.';
  return other;
}

// Extracts the prefix of a training image file, such as "emnist-letters-" from
// emnist-letters-train-images-idx3-ubyte.gz, in either spelling, .gz or not. Returns false for other files.
bool prefix_of(std::string_view name, std::string& prefix) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  for (const std::string& stem : {std::string(kStems[0]), dotted(kStems[0])}) {
    if (!name.ends_with(stem)) continue;
    prefix = name.substr(0, name.size() - stem.size());
    return prefix.empty() || prefix.ends_with('-');
  }
  return false;
}

std::set<std::string> prefixes_in(const std::string& directory) {
  std::set<std::string> prefixes;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string prefix;
    if (prefix_of(it->path().filename().string(), prefix)) prefixes.insert(prefix);
  }
  if (error) throw IoError(directory, "list directory", error.value());
  return prefixes;
}

FileSet split_path(const std::string& path) {
  const fs::path whole(path);
  const std::string parent = whole.parent_path().string();
  return {parent.empty() ? "." : parent, whole.filename().string() + "-"};
}

}  // namespace

std::string find_idx(const std::string& directory, std::string_view stem) {
  for (const std::string& spelling : {std::string(stem), dotted(stem)}) {
    for (const char* suffix : {"", ".gz"}) {
      std::string path = fmt::format("{}/{}{}", directory, spelling, suffix);
      std::error_code error;
      if (fs::is_regular_file(path, error)) return path;
    }
  }
  return {};
}

bool has_all_files(const std::string& directory) {
  for (const std::string_view stem : kStems) {
    if (find_idx(directory, stem).empty()) return false;
  }
  return true;
}

const KnownDataset* identify(const std::string& directory) {
  const auto hash = [&](std::string_view stem) {
    return io::sha256_hex(encode_idx(read_idx(find_idx(directory, stem))));
  };
  const std::string train = hash(kStems[1]);
  const std::string test = hash(kStems[3]);
  for (const KnownDataset& known : known_datasets()) {
    if (known.files[1].sha256 == train && known.files[3].sha256 == test) return &known;
  }
  return nullptr;
}

bool names_a_set(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return false;
  const FileSet set = split_path(path);
  return set.prefix != "-" && !find_idx(set.directory, set.prefix + std::string(kStems[0])).empty();
}

FileSet find_set(const std::string& path) {
  if (names_a_set(path)) return split_path(path);
  std::error_code error;
  if (!fs::is_directory(path, error)) throw IoError(path, "open directory", error ? error.value() : ENOTDIR);
  const std::set<std::string> prefixes = prefixes_in(path);
  if (prefixes.empty() || prefixes.contains("")) return {path, ""};
  if (prefixes.size() > 1) {
    std::string names;
    for (const std::string& prefix : prefixes) {
      names += (names.empty() ? "" : ", ") + escape(prefix.substr(0, prefix.size() - 1), 40);
    }
    throw InvalidArgument(fmt::format("{}: several datasets: {}; choose one as {}/NAME", escape_path(path, 80),
                                      names.substr(0, 160), escape_path(path, 80)));
  }
  return {path, *prefixes.begin()};
}

}  // namespace descent::data
