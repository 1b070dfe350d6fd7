// Low-level writing to standard output and standard error. A message that cannot be shown has no other effect: only
// writing results, to standard output, can fail.
#pragma once

#include <string_view>

namespace descent::cli {

// Occupies closed descriptors 0, 1 and 2, so that no file opened later gets a number that messages are written to.
// They are opened for the wrong direction, so reading from or writing to them still fails.
void occupy_standard_streams() noexcept;

// Writes everything, waiting while the other end is not ready. Returns 0 or errno.
int write_all(int file, std::string_view text) noexcept;

// Writes "descent: BEFORE MESSAGE AFTER" (without the blanks) as one line to standard error, truncated to at most 400
// characters after "descent: ". Works when memory is exhausted.
void put_error(std::string_view message, std::string_view before = "", std::string_view after = "") noexcept;

}  // namespace descent::cli
