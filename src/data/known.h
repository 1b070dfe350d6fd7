// The datasets known by name: their download locations and the SHA-256 of their uncompressed files.
#pragma once

#include <array>
#include <string_view>
#include <vector>

namespace descent::data {

struct KnownFile {
  std::string_view stem;    // "train-images-idx3-ubyte"
  std::string_view sha256;  // of the uncompressed file
};

struct KnownDataset {
  std::string_view name;
  std::string_view package_directory;  // where a distribution package installs it; may be empty
  std::vector<std::string_view> mirrors;
  std::array<KnownFile, 4> files;  // training images and labels, test images and labels
  std::vector<std::string_view> class_names;
};

const std::vector<KnownDataset>& known_datasets();
const KnownDataset* find_known(std::string_view name);

}  // namespace descent::data
