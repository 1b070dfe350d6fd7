// Reads a dataset from a directory: MNIST's, EMNIST's and QMNIST's files as they are distributed. Its name depends
// on its content, not on its location: the name of the known dataset with these label files, else the files'
// prefix, else the directory's name.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "data/directory.h"
#include "descent/error.h"
#include "descent/io.h"

namespace descent::data {
namespace {

constexpr std::string_view kDigitNames = "0123456789";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

// "balanced" and "bymerge" contain only the lower-case letters that look unlike their upper case (Cohen et al.,
// EMNIST, 2017). Empty for a name that is none of the six splits.
std::string emnist_classes(std::string_view split) {
  if (split == "letters") return std::string(kUpper);
  if (split == "digits" || split == "mnist") return std::string(kDigitNames);
  if (split == "byclass") return fmt::format("{}{}abcdefghijklmnopqrstuvwxyz", kDigitNames, kUpper);
  if (split == "balanced" || split == "bymerge") return fmt::format("{}{}abdefghnqrt", kDigitNames, kUpper);
  return {};
}

struct Part {
  Tensor images;
  Tensor labels;
  std::string source;
};

// The path of the first of the names that exists; throws IoError if none does.
std::string require_any(const FileSet& set, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::string path = find_idx(set.directory, set.prefix + name);
    if (!path.empty()) return path;
  }
  throw IoError(fmt::format("{}/{}{}[.gz]", set.directory, set.prefix, names.front()), "open", ENOENT);
}

// Labels of QMNIST are i32 [N, 8]; the first column is the class.
Tensor classes_of(const Tensor& labels) {
  if (labels.dtype() != DType::i32 || labels.rank() != 2 || labels.size(1) < 1) return labels;
  Tensor classes = Tensor::empty({labels.size(0)}, DType::i32);
  const auto* row = labels.data<std::int32_t>();
  for (std::int64_t i = 0; i < labels.size(0); ++i) classes.data<std::int32_t>()[i] = row[i * labels.size(1)];
  return classes;
}

Part read_part(const FileSet& set, const std::vector<std::string>& part) {
  std::vector<std::string> images;
  std::vector<std::string> labels;
  for (const std::string& name : part) {
    images.push_back(name + "-images-idx3-ubyte");
    labels.push_back(name + "-labels-idx1-ubyte");
    labels.push_back(name + "-labels-idx2-int");
  }
  const std::string path = require_any(set, images);
  return {read_idx(path), classes_of(read_idx(require_any(set, labels))), path};
}

// EMNIST stores its images transposed. Transposes them in place: "byclass" has 600 MB of images.
Tensor transposed(const Tensor& images) {
  if (images.dtype() != DType::u8 || images.rank() != 3) return images;  // rejected later, with the reason
  const std::int64_t rows = images.size(1);
  const std::int64_t columns = images.size(2);
  Tensor turned = images.reshape({images.size(0), columns, rows});
  auto* image = turned.data<std::uint8_t>();
  std::vector<std::uint8_t> before(static_cast<std::size_t>(rows * columns));
  for (std::int64_t n = 0; n < images.size(0); ++n, image += rows * columns) {
    std::copy_n(image, before.size(), before.begin());
    for (std::int64_t y = 0; y < rows; ++y) {
      for (std::int64_t x = 0; x < columns; ++x) {
        image[x * rows + y] = before[static_cast<std::size_t>(y * columns + x)];
      }
    }
  }
  return turned;
}

std::int32_t smallest(const Tensor& labels) {
  const std::vector<std::int32_t> values = labels.to_vector<std::int32_t>();
  return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
}

// EMNIST numbers its letters from 1; classes here start at 0, as in every other dataset.
void count_from_zero(Part& train, Part& test) {
  if (is_floating(train.labels.dtype()) || is_floating(test.labels.dtype())) return;
  if (smallest(train.labels) < 1 || smallest(test.labels) < 1) return;
  for (Part* part : {&train, &test}) {
    std::vector<std::int32_t> values = part->labels.to_vector<std::int32_t>();
    for (std::int32_t& value : values) --value;
    part->labels = Tensor::from(values, part->labels.shape());
  }
}

std::string base_name(const std::string& directory) {
  std::error_code error;  // the working directory may be gone
  std::filesystem::path path = std::filesystem::absolute(directory, error);
  path = (error ? std::filesystem::path(directory) : path).lexically_normal();
  const std::filesystem::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  return escape_path(last.string());
}

// The class names; empty if they are unknown.
std::vector<std::string> class_names(const FileSet& set, const KnownDataset* known) {
  if (known != nullptr) return {known->class_names.begin(), known->class_names.end()};
  constexpr std::string_view kEmnist = "emnist-";
  std::vector<std::string> names;
  if (!set.prefix.starts_with(kEmnist) || set.prefix.size() <= kEmnist.size()) return names;
  const std::string split = set.prefix.substr(kEmnist.size(), set.prefix.size() - kEmnist.size() - 1);
  for (const char letter : emnist_classes(split)) names.emplace_back(1, letter);
  return names;
}

}  // namespace

DatasetPair load_directory(const std::string& path) {
  const FileSet set = find_set(path);
  const bool mnist_names = set.prefix.empty() && has_all_files(set.directory);
  const KnownDataset* known = mnist_names ? identify(set.directory) : nullptr;
  std::string name =
      set.prefix.empty() ? base_name(set.directory) : escape(set.prefix.substr(0, set.prefix.size() - 1));
  if (known != nullptr) name = known->name;
  Part train = read_part(set, {"train"});
  Part test = read_part(set, {"t10k", "test"});
  if (set.prefix.starts_with("emnist-")) {
    train.images = transposed(train.images);
    test.images = transposed(test.images);
    if (set.prefix == "emnist-letters-") count_from_zero(train, test);
  }
  DatasetPair pair{make_dataset(name, train.images, train.labels, train.source),
                   make_dataset(name, test.images, test.labels, test.source)};
  const Shape& train_shape = pair.train.images.shape();
  const Shape& test_shape = pair.test.images.shape();
  if (train_shape.with(0, 0) != test_shape.with(0, 0)) {
    throw FormatError(fmt::format("{}: training images {}, but test images {}", escape_path(path, 200),
                                  to_string(train_shape), to_string(test_shape)));
  }
  std::vector<std::string> names = class_names(set, known);
  for (const data::Dataset* part : {&pair.train, &pair.test}) {
    if (names.size() < part->class_names.size()) names = part->class_names;
  }
  pair.train.class_names = pair.test.class_names = names;
  return pair;
}

}  // namespace descent::data
