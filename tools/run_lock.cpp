// RunLock, with flock rather than fcntl: a flock belongs to the open file, so that closing another descriptor of it in
// this process does not release the lock.
#include "run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "cli.h"
#include "descent/error.h"

namespace descent::cli {
namespace {

int open_lock(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file >= 0 || errno != EACCES) return file;
  const int other = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);  // another user's lock file
  if (other < 0) errno = EACCES;                                            // no lock file: the first error counts
  return other;
}

// What the holder of the lock wrote about itself.
std::string holder(int file) {
  std::array<char, 200> text{};
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  return got > 0 ? " (" + escape({text.data(), static_cast<std::size_t>(got)}, 100) + ")" : "";
}

// Only for the error message in the process that is refused.
void write_holder(int file) {
  std::array<char, 65> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host = {};
  const std::string text = fmt::format("process {} on {}", getpid(), host.data());
  if (ftruncate(file, 0) != 0) return;
  [[maybe_unused]] const ssize_t written = pwrite(file, text.data(), text.size(), 0);
}

}  // namespace

RunLock::RunLock(const std::string& folder) : path_(folder + "/.lock") {
  while (true) {
    file_ = open_lock(path_);
    if (file_ < 0) throw IoError(path_, "open", errno);
    int error = 0;
    while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      error = errno;
      if (error != EINTR) break;
      error = 0;
    }
    if (error == EWOULDBLOCK) {
      const std::string who = holder(file_);
      close(file_);
      throw InvalidArgument(
          fmt::format("--out: {}: a training is running in it{}: wait for its end, or name another folder",
                      escape_path(folder, 180), who));
    }
    if (error != 0) {
      close(file_);
      file_ = -1;
      warn(fmt::format("{}: can't be locked: {}; make sure that no other training runs in that folder",
                       escape_path(path_, 200), std::strerror(error)));
      return;
    }
    if (still_names_our_file()) break;
    close(file_);  // its previous holder has removed it in the meantime
  }
  write_holder(file_);
}

RunLock::~RunLock() {
  if (file_ < 0) return;
  if (still_names_our_file()) unlink(path_.c_str());
  close(file_);
}

bool RunLock::still_names_our_file() const {
  struct stat ours {};
  struct stat named {};
  return fstat(file_, &ours) == 0 && lstat(path_.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

}  // namespace descent::cli
