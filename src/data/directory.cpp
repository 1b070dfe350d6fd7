// Reads a dataset from a directory. What it is called depends on what is in it, not on where it lies: label files of a
// known dataset give its name, anything else the directory's.
#include "data/directory.h"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTrainImages = "train-images-idx3-ubyte";
constexpr std::string_view kTrainLabels = "train-labels-idx1-ubyte";
constexpr std::string_view kTestImages = "t10k-images-idx3-ubyte";
constexpr std::string_view kTestLabels = "t10k-labels-idx1-ubyte";

std::string require_idx(const std::string& directory, std::string_view stem) {
  std::string path = find_idx(directory, stem);
  if (path.empty()) throw IoError(fmt::format("{}/{}[.gz]", directory, stem), "open", ENOENT);
  return path;
}

std::string base_name(const std::string& directory) {
  std::error_code error;  // the working directory may be gone
  fs::path path = fs::absolute(directory, error);
  path = (error ? fs::path(directory) : path).lexically_normal();
  const fs::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  return escape_path(last.string());
}

Dataset read_part(const std::string& name, const std::string& directory, std::string_view images,
                  std::string_view labels) {
  const std::string path = require_idx(directory, images);
  return make_dataset(name, read_idx(path), read_idx(require_idx(directory, labels)), path);
}

}  // namespace

std::string find_idx(const std::string& directory, std::string_view stem) {
  std::string dotted(stem);
  dotted[dotted.rfind("-idx")] = '.';  // train-images.idx3-ubyte
  for (const std::string& spelling : {std::string(stem), dotted}) {
    for (const char* suffix : {"", ".gz"}) {
      std::string path = fmt::format("{}/{}{}", directory, spelling, suffix);
      std::error_code error;
      if (fs::is_regular_file(path, error)) return path;
    }
  }
  return {};
}

bool has_all_files(const std::string& directory) {
  for (const std::string_view stem : {kTrainImages, kTrainLabels, kTestImages, kTestLabels}) {
    if (find_idx(directory, stem).empty()) return false;
  }
  return true;
}

const KnownDataset* identify(const std::string& directory) {
  const auto hash = [&](std::string_view stem) {
    return io::sha256_hex(encode_idx(read_idx(require_idx(directory, stem))));
  };
  const std::string train = hash(kTrainLabels);
  const std::string test = hash(kTestLabels);
  for (const KnownDataset& known : known_datasets()) {
    if (known.files[1].sha256 == train && known.files[3].sha256 == test) return &known;
  }
  return nullptr;
}

DatasetPair load_directory(const std::string& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) throw IoError(directory, "open directory", error ? error.value() : ENOTDIR);
  const KnownDataset* known = has_all_files(directory) ? identify(directory) : nullptr;
  const std::string name = known != nullptr ? std::string(known->name) : base_name(directory);
  DatasetPair pair{read_part(name, directory, kTrainImages, kTrainLabels),
                   read_part(name, directory, kTestImages, kTestLabels)};
  const Shape& train = pair.train.images.shape();
  const Shape& test = pair.test.images.shape();
  if (train.with(0, 0) != test.with(0, 0)) {
    throw FormatError(fmt::format("{}: training images {}, but test images {}", escape_path(directory, 200),
                                  to_string(train), to_string(test)));
  }
  auto& names = pair.train.classes() >= pair.test.classes() ? pair.train.class_names : pair.test.class_names;
  if (known != nullptr) names.assign(known->class_names.begin(), known->class_names.end());
  pair.train.class_names = pair.test.class_names = std::vector<std::string>(names);
  return pair;
}

}  // namespace descent::data
