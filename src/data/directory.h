// Directories with the four IDX files of a dataset, or of several.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/known.h"
#include "descent/data.h"

namespace descent::data {

// The path of DIR/STEM in either spelling, compressed or not; empty if there is none.
std::string find_idx(const std::string& directory, std::string_view stem);
// All four files under MNIST's names.
bool has_all_files(const std::string& directory);
// What the directory's label files are by their SHA-256: a known dataset, or null.
const KnownDataset* identify(const std::string& directory);

// Which dataset of a directory: its files are called PREFIXtrain-images-idx3-ubyte and so on, with the prefix of
// EMNIST ("emnist-letters-"), of QMNIST ("qmnist-"), or none.
struct FileSet {
  std::string directory;
  std::string prefix;
};
// `path` is a directory with one dataset, or DIRECTORY/NAME with a prefix "NAME-". Throws IoError if there is none,
// InvalidArgument if the directory holds several.
FileSet find_set(const std::string& path);
// True if `path` is DIRECTORY/NAME and that directory has such files.
bool names_a_set(const std::string& path);

}  // namespace descent::data
