// Directories with the four IDX files of a dataset.
#pragma once

#include <string>
#include <string_view>

#include "data/known.h"
#include "descent/data.h"

namespace descent::data {

// The path of DIR/STEM in either spelling, compressed or not; empty where there is none.
std::string find_idx(const std::string& directory, std::string_view stem);
bool has_all_files(const std::string& directory);
// What the directory's label files are by their SHA-256: a known dataset, or null.
const KnownDataset* identify(const std::string& directory);

}  // namespace descent::data
