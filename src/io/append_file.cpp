// Appends text to a log: see append_file.h.
#include "io/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace descent::io {

int append_file(const std::string& path, std::string_view text) noexcept {
  const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return errno;
  struct stat before {};
  int error = fstat(file, &before) == 0 ? 0 : errno;
  while (error == 0 && !text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      error = errno;
      [[maybe_unused]] const int cut = ftruncate(file, before.st_size);
    }
  }
  // Some file systems report a full disk only here. What the file then holds is unknown, and is left alone.
  if (close(file) != 0 && error == 0) return errno;
  return error;
}

}  // namespace descent::io
