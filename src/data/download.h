// Downloads through the system's curl or wget: without a shell, with a size limit, and saving only verified files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/known.h"
#include "descent/data.h"

namespace descent::data {

// Downloads a URL. Throws IoError if neither tool is installed, if the tool fails (with the tool's own message), or if
// there are more than `limit` bytes.
std::vector<std::byte> download(const std::string& url, std::uint64_t limit);

// Downloads those of the dataset's four files that are missing in `directory`. Throws FormatError if a file's SHA-256
// is wrong, IoError if no mirror returns an IDX file.
void download_dataset(const KnownDataset& dataset, const std::string& directory, const Log& log);

}  // namespace descent::data
