// Downloads through the system's curl or wget: no shell, a size limit, and nothing is kept that isn't what it should
// be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/known.h"
#include "descent/data.h"

namespace descent::data {

// The bytes behind a URL; throws IoError, with the tool's own words, when there is no tool or it fails.
std::vector<std::byte> download(const std::string& url, std::uint64_t limit);

// Brings those of the dataset's four files into `directory` that are not there. A file whose SHA-256 is wrong is a
// FormatError; if no mirror answers with an IDX file it is an IoError.
void download_dataset(const KnownDataset& dataset, const std::string& directory, const Log& log);

}  // namespace descent::data
