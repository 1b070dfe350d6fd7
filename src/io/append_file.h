// Appending to a log: all of a text, or nothing of it.
#pragma once

#include <string>
#include <string_view>

namespace descent::io {

// Returns 0 or errno. After a failure the file is cut back to its old length, if that is still possible, so that the
// next attempt doesn't begin inside a line. Nobody else may append at the same time.
int append_file(const std::string& path, std::string_view text) noexcept;

}  // namespace descent::io
