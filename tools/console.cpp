// Writing to standard output and standard error, for console.h and the section "output" of cli.h.
#include "console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli.h"
#include "descent/error.h"

namespace descent::cli {
namespace {

constexpr std::size_t kErrorLimit = 400;

bool colored(int file) noexcept {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(file) != 0 && (no_color == nullptr || *no_color == '\0') &&
         !(term != nullptr && std::strcmp(term, "dumb") == 0);
}

// Writes one line to standard error, in color on a terminal.
void put_line(std::string_view color, std::string_view head, std::string_view line) noexcept {
  const bool in_color = !color.empty() && colored(STDERR_FILENO);
  try {
    const std::string shown = escape_path(line, std::string::npos);
    const std::string text =
        fmt::format("{}{}{}{}\n", in_color ? color : "", head, shown, in_color ? std::string_view("\x1b[0m") : "");
    write_all(STDERR_FILENO, text);
  } catch (...) {  // out of memory
    put_error(line);
  }
}

// The length of the color sequence, ESC [ digits and semicolons m, at the beginning of `text`; 0: none.
std::size_t color_length(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

// Keeps newlines and color sequences; escapes whatever else names from files or paths could do to a terminal.
std::string harmless(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\n\x1b"), text.size());
    if (end > 0) {
      shown += escape_path(text.substr(0, end), std::string::npos);
      text.remove_prefix(end);
      continue;
    }
    const std::size_t kept = text[0] == '\n' ? 1 : color_length(text);
    shown += kept > 0 ? std::string(text.substr(0, kept)) : "\\x1b";
    text.remove_prefix(kept > 0 ? kept : 1);
  }
  return shown;
}

void write_result(std::string_view text) {
  if (const int error = write_all(STDOUT_FILENO, text)) throw IoError("standard output", "write", error);
}

}  // namespace

void occupy_standard_streams() noexcept {
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(file, F_GETFD) >= 0 || errno != EBADF) continue;
    // open returns the smallest free number, and those below are taken by now.
    static_cast<void>(open("/dev/null", file == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

int write_all(int file, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd ready{file, POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

void put_error(std::string_view message, std::string_view before, std::string_view after) noexcept {
  if (message.starts_with("descent: ")) message.remove_prefix(9);
  message = message.substr(0, kErrorLimit - std::min(kErrorLimit, before.size() + after.size()));
  const bool in_color = colored(STDERR_FILENO);
  std::array<char, 1024> line{};
  std::size_t size = 0;
  const auto add = [&](std::string_view text) {
    for (const char c : text.substr(0, kErrorLimit)) {
      if (size + 16 < line.size()) line[size++] = c == '\n' ? ' ' : c;
    }
  };
  if (in_color) add("\x1b[31m");
  add("descent: ");
  add(before);
  try {
    add(Error(message).what());  // escaped and truncated
  } catch (...) {
    add(message);
  }
  add(after);
  if (in_color) add("\x1b[0m");
  line[size++] = '\n';
  write_all(STDERR_FILENO, {line.data(), size});
}

void say(std::string_view line) noexcept { put_line("", "", line); }
void warn(std::string_view line) noexcept { put_line("\x1b[1;33m", "descent: warning: ", line); }

void data_log(std::string_view line) noexcept {
  constexpr std::string_view kWarning = "WARNING: ";
  if (line.starts_with(kWarning)) {
    warn(line.substr(kWarning.size()));
  } else {
    say(line);
  }
}

void print(std::string_view text) { write_result(harmless(text)); }

void print_json(const nlohmann::json& value) {
  write_result(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) != 0; }

}  // namespace descent::cli
