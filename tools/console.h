// The bytes of standard output and standard error. Whether a message can be shown never changes what happens: only
// results, on standard output, can fail.
#pragma once

#include <string_view>

namespace descent::cli {

// Closed descriptors 0, 1 and 2 are taken, so that no file that is opened later gets a number that messages are written
// to. They are taken for the wrong direction: what is read from or written to them still fails.
void occupy_standard_streams() noexcept;

// Writes everything, waiting where the other end isn't ready. Returns 0 or errno.
int write_all(int file, std::string_view text) noexcept;

// "descent: BEFORE MESSAGE AFTER" (without the blanks) as one line on standard error, cut so that it has at
// most 400 characters after "descent: ". Works without memory.
void put_error(std::string_view message, std::string_view before = "", std::string_view after = "") noexcept;

}  // namespace descent::cli
