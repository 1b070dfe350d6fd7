// Appends to a log: all of a text or none of it.
#pragma once

#include <string>
#include <string_view>

namespace descent::io {

// Returns 0 or errno. After a failed write the file is truncated to its old length, if that is still possible, so that
// the next attempt doesn't begin inside a line. There must be no other writer at the same time.
int append_file(const std::string& path, std::string_view text) noexcept;

}  // namespace descent::io
