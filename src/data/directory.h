// Directories that contain the four IDX files of one dataset, or of several.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/known.h"
#include "descent/data.h"

namespace descent::data {

// The path of DIR/STEM in either spelling, compressed or not; empty if there is none.
std::string find_idx(const std::string& directory, std::string_view stem);
// True if all four files are there under MNIST's names.
bool has_all_files(const std::string& directory);
// Identifies a known dataset by the SHA-256 of its label files; null if they match none.
const KnownDataset* identify(const std::string& directory);

// One dataset in a directory. Its files are named PREFIXtrain-images-idx3-ubyte and so on, where the prefix is that of
// EMNIST ("emnist-letters-") or QMNIST ("qmnist-"), or empty.
struct FileSet {
  std::string directory;
  std::string prefix;
};
// `path` is a directory with one dataset, or DIRECTORY/NAME, which selects the prefix "NAME-". Throws IoError if it is
// neither, InvalidArgument if the directory contains several datasets.
FileSet find_set(const std::string& path);
// True if `path` is DIRECTORY/NAME and DIRECTORY contains the training images of that name.
bool names_a_set(const std::string& path);

}  // namespace descent::data
